import { closeSync } from 'node:fs'
import { basename } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { fromFs } from '../../store/directory.js'
import { isNotAFile, openRegularSync } from '../../store/regular-file.js'
import { segmentPath } from '../../store/segment-file.js'

/** Files of a topic that are held open from the beginning, so that retention can't take them: more than retention removes while the others are copied. */
const heldFiles = 512

/** Segment files that are open, so that their bytes stay though retention takes their names. */
export class HeldSegments {
  readonly #folder: string
  readonly #files = new Map<number, number>()

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Opens the newest ones, at once: between two of them retention goes on. False if `active` is gone already. */
  take(active: number, first: number): boolean {
    for (let number = active; number >= first && this.#files.size < heldFiles; number--) {
      const file = this.#open(number)
      if (file === undefined) break
      this.#files.set(number, file)
    }
    return this.#files.has(active)
  }

  /** The caller closes it. `undefined`: there is no such file. */
  give(number: number): number | undefined {
    const file = this.#files.get(number)
    this.#files.delete(number)
    return file ?? this.#open(number)
  }

  close(): void {
    for (const file of this.#files.values()) closeSync(file)
    this.#files.clear()
  }

  #open(number: number): number | undefined {
    try {
      return openRegularSync(segmentPath(this.#folder, number))
    } catch (error) {
      if (isNotAFile(error)) throw noSegment(error, this.#folder)
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || (code === 'EMFILE' && this.#files.size > 0)) return undefined
      throw fromFs(error, `read ${segmentPath(this.#folder, number)}`)
    }
  }
}

function noSegment(cause: HermesError, folder: string): HermesError {
  const topic = basename(folder)
  return new HermesError(
    'CORRUPT',
    `${cause.message} Close the publishers and subscribers of the topic, then run \`hermes repair ${topic}\`, and back up then.`,
    { cause, details: { topic } },
  )
}
