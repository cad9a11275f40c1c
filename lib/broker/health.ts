import { join } from 'node:path'
import type { ErrorCode, HermesError } from '../base/errors.js'
import type { BrokerHealth } from '../model/topic.js'
import { diskRoom, isShort } from '../store/directory.js'
import { openRegular } from '../store/regular-file.js'

/** How long a failure is held against the broker, unless the topic works again. */
const memoryMs = 60_000
/** Of so many topics the last failure is remembered. */
const mostFailures = 100

interface Failure {
  readonly at: number
  readonly error: HermesError
}

interface Problem {
  /** Absent if it is one topic's alone: others may be fine. */
  readonly code?: ErrorCode
  readonly sentence: string
}

/** Whether the broker can do its work: serve a directory to publishers. */
export class Health {
  readonly #dir: string
  readonly #failures = new Map<string, Failure>()

  constructor(dir: string) {
    this.#dir = dir
  }

  /** The topic could not be opened, or its disk failed. */
  failed(topic: string, error: HermesError): void {
    this.#failures.delete(topic)
    this.#failures.set(topic, { at: performance.now(), error })
    const oldest = this.#failures.keys().next()
    if (this.#failures.size > mostFailures && !oldest.done) this.#failures.delete(oldest.value)
  }

  works(topic: string): void {
    if (this.#failures.size > 0) this.#failures.delete(topic)
  }

  /** Looks at the disk, and whether there are file descriptors left. Never rejects. */
  async report(): Promise<BrokerHealth> {
    const found = [...(await this.#room()), ...(await this.#descriptors()), ...this.#recent()]
    const code = found[0]?.code
    return {
      canPublish: found.length === 0,
      problems: found.map(({ sentence }) => sentence),
      ...(code === undefined ? {} : { code }),
    }
  }

  async #room(): Promise<Problem[]> {
    try {
      const room = await diskRoom(this.#dir)
      if (!isShort(room, false)) return []
      const { freeBytes, lowWaterBytes } = room
      const sentence = `Publishers are refused (DISK_FULL): ${freeBytes} bytes are free, less than the low-water mark of ${lowWaterBytes}.`
      return [{ code: 'DISK_FULL', sentence }]
    } catch (error) {
      return [{ code: 'IO_FAILED', sentence: `The directory can't be looked at: ${(error as Error).message}.` }]
    }
  }

  async #descriptors(): Promise<Problem[]> {
    try {
      await (await openRegular(join(this.#dir, 'hermes.json'))).close()
      return []
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const many = code === 'EMFILE' || code === 'ENFILE'
      return [
        many
          ? { code: 'LIMIT', sentence: 'No file can be opened: the limit of open files is reached (ulimit -n).' }
          : { code: 'IO_FAILED', sentence: `The directory can't be read: ${message}.` },
      ]
    }
  }

  #recent(): Problem[] {
    const since = performance.now() - memoryMs
    for (const [topic, { at }] of this.#failures) if (at < since) this.#failures.delete(topic)
    return [...this.#failures].map(([topic, { error }]) => ({
      sentence: `Topic '${topic}' failed: ${error.code}: ${error.message}`,
    }))
  }
}
