import { open, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { HermesError } from '../errors.js'

/** How long a failure is held against the broker, unless the topic works again. */
const memoryMs = 60_000
/** Of so many topics the last failure is remembered. */
const mostFailures = 100
/** As the core's default: below it, publishers are refused. */
const lowWaterBytes = 64 * 1024 * 1024
const lowWaterPart = 0.05

/** What `hermes ping` is told. */
export interface HealthReport {
  readonly canPublish: boolean
  /** A sentence for each reason. */
  readonly problems: readonly string[]
}

interface Failure {
  readonly at: number
  readonly error: HermesError
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
  async report(): Promise<HealthReport> {
    const problems = [...(await this.#room()), ...(await this.#descriptors()), ...this.#recent()]
    return { canPublish: problems.length === 0, problems }
  }

  async #room(): Promise<string[]> {
    try {
      const { bsize, bavail, blocks } = await statfs(this.#dir)
      const free = bavail * bsize
      const needed = Math.min(lowWaterBytes, Math.floor(blocks * bsize * lowWaterPart))
      return free >= needed
        ? []
        : [`Publishers are refused: ${free} bytes are free on the disk, less than the low-water mark of ${needed}.`]
    } catch (error) {
      return [`The directory can't be looked at: ${(error as Error).message}.`]
    }
  }

  async #descriptors(): Promise<string[]> {
    try {
      await (await open(join(this.#dir, 'hermes.json'), 'r')).close()
      return []
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      const many = code === 'EMFILE' || code === 'ENFILE'
      return [
        many
          ? 'No file can be opened: the limit of open files is reached (ulimit -n).'
          : `The directory can't be read: ${message}.`,
      ]
    }
  }

  #recent(): string[] {
    const since = performance.now() - memoryMs
    for (const [topic, { at }] of this.#failures) if (at < since) this.#failures.delete(topic)
    return [...this.#failures].map(([topic, { error }]) => `Topic '${topic}' failed: ${error.code}: ${error.message}`)
  }
}
