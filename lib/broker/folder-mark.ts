import { type BigIntStats, statSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'

/** What became of a topic's folder since it was opened. */
export type Whereabouts = 'same' | 'control-replaced' | 'removed'

/**
 * Tells whether a topic's folder is still the one that was opened. The open log maps its `control` file, so nothing else gets that
 * inode's number meanwhile: the same number on the same device is the same file.
 */
export class FolderMark {
  readonly #control: string
  readonly #description: string
  readonly #controlIs: string
  readonly #descriptionIs: string

  /** REQUIRES: the log in `folder` was just opened. */
  constructor(folder: string) {
    this.#control = join(folder, 'control')
    this.#description = join(folder, 'topic.json')
    this.#controlIs = identity(this.#control)
    this.#descriptionIs = edition(this.#description)
  }

  /** One system call on names that the kernel has in memory: for use before an acknowledgement. */
  get isSame(): boolean {
    return this.#controlIs !== '' && identity(this.#control) === this.#controlIs
  }

  /** The same off the event loop: for looking at many topics now and then. */
  async stillSame(): Promise<boolean> {
    try {
      return shown(await stat(this.#control, { bigint: true })) === this.#controlIs
    } catch {
      return false
    }
  }

  /** What happened, once it is known that something has. */
  whereabouts(): Whereabouts {
    if (this.isSame) return 'same'
    return this.#descriptionIs !== '' && edition(this.#description) === this.#descriptionIs
      ? 'control-replaced'
      : 'removed'
  }
}

function shown({ dev, ino }: BigIntStats): string {
  return `${dev}:${ino}`
}

/** Empty if there is nothing, or nothing that may be looked at. */
function identity(path: string): string {
  const found = look(path)
  return found === undefined ? '' : shown(found)
}

/** Of a file that no process keeps open: another file may have got its number. */
function edition(path: string): string {
  const found = look(path)
  return found === undefined ? '' : `${shown(found)}:${found.mtimeNs}`
}

function look(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
