import { open as openFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../base/errors.js'
import { type Directory, fromFs } from '../store/directory.js'
import { type FileLock, lockFile } from '../store/file-lock.js'
import { RetryError } from '../wire/retry.js'

/** The files whose first byte a broker locks. The second one is what makes the directory Hermes': it can't be lost unnoticed. */
const lockName = 'broker.lock'
const markName = 'hermes.json'

/**
 * The directory that one broker serves, and no other one: it holds locks on two files in it, and looks from time to time whether
 * the directory is still the one that it opened.
 */
export class ServedDirectory {
  readonly directory: Directory
  readonly #locks: FileLock[] = []
  /** What the locked files were when they were locked. */
  #mark = ''
  #lock = ''
  /** For all who ask at the same time. */
  #checking: Promise<boolean> | undefined

  private constructor(directory: Directory) {
    this.directory = directory
  }

  /** @throws HermesError `BUSY` if another broker serves the directory, and what opening files throws */
  static async hold(directory: Directory): Promise<ServedDirectory> {
    const served = new ServedDirectory(directory)
    try {
      served.#mark = await served.#hold(markName)
      served.#lock = await served.#hold(lockName)
    } catch (error) {
      served.release()
      throw error
    }
    return served
  }

  async #hold(name: string): Promise<string> {
    const path = join(this.directory.path, name)
    try {
      // A lock needs a file that is open for writing: without that permission, the error is thrown here.
      await (await openFile(path, name === lockName ? 'a' : 'r+', this.directory.fileMode)).close()
    } catch (error) {
      throw fromFs(error, `open ${path}`)
    }
    const lock = lockFile(path)
    if (lock === undefined) {
      throw new HermesError(
        'BUSY',
        `Another broker serves ${this.directory.path}. One directory has one broker; connect to that one.`,
      )
    }
    this.#locks.push(lock)
    const identity = await identityOf(path)
    if (identity === undefined) throw this.#gone()
    return identity
  }

  /**
   * Looks whether the directory is still there and still the same one, and makes a lost `broker.lock` again.
   *
   * @returns whether `broker.lock` had been lost
   * @throws HermesError `IO_FAILED` if the directory is gone, or another one is in its place; `BUSY`
   */
  check(): Promise<boolean> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined
    })
    return this.#checking
  }

  async #check(): Promise<boolean> {
    const { path } = this.directory
    if ((await identityOf(join(path, markName))) !== this.#mark) throw this.#gone()
    if ((await identityOf(join(path, lockName))) === this.#lock) return false
    this.#lock = await this.#hold(lockName)
    return true
  }

  #gone(): HermesError {
    return new HermesError(
      'IO_FAILED',
      'The directory that this broker serves is gone, or another one is in its place. Put it back and start the broker again.',
    )
  }

  /** The error without the paths of this machine: clients know topics by their names. */
  shown(error: HermesError): HermesError {
    const { path } = this.directory
    const text =
      JSON.stringify(error.details, (_, value) => (typeof value === 'bigint' ? String(value) : value)) ?? '{}'
    if (!error.message.includes(path) && !text.includes(path)) return error
    const hide = (words: string) =>
      words
        .replaceAll(`${path}/topics/`, 'topic ')
        .replaceAll(`${path}/`, '')
        .replaceAll(path, "the broker's directory")
    const hidden = JSON.parse(text, (_, value) => (typeof value === 'string' ? hide(value) : value))
    const Kind = error instanceof RetryError ? RetryError : HermesError
    return new Kind(error.code, hide(error.message), { details: hidden })
  }

  release(): void {
    for (const lock of this.#locks.splice(0)) lock.release()
  }
}

/** Which file it is: device and number; `undefined` if there is none. */
async function identityOf(path: string): Promise<string | undefined> {
  try {
    const { dev, ino } = await stat(path, { bigint: true })
    return `${dev}:${ino}`
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw fromFs(error, `look at ${path}`)
  }
}
