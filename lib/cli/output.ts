import { fstatSync } from 'node:fs'
import { HermesError } from '../base/errors.js'
import { addonIfPresent } from '../native/load.js'

const chunkBytes = 65_536
/** How often a pipe is checked for a reader, in ms. */
const lookMs = 500

/** Buffered stdout: data only, with the reader's back-pressure, and a quiet end when the reader has gone. */
export class Output {
  readonly isTerminal: boolean
  readonly #stream: NodeJS.WriteStream
  #parts: (string | Uint8Array)[] = []
  #size = 0
  #gone = false
  #failure: Error | undefined
  readonly #onGone: () => void
  #look: NodeJS.Timeout | undefined

  /** @param onGone called once when the reader has ended */
  constructor(stream: NodeJS.WriteStream, onGone: () => void) {
    this.#stream = stream
    this.isTerminal = stream.isTTY === true
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (this.#gone) return
      this.#gone = true
      if (error.code !== 'EPIPE') {
        const code = error.code === 'ENOSPC' || error.code === 'EDQUOT' ? 'DISK_FULL' : 'IO_FAILED'
        this.#failure = new HermesError(code, `Can't write to stdout: ${error.message}.`, { cause: error })
      }
      onGone()
    })
    this.#onGone = onGone
  }

  /** Notices that the reader has ended before the next write, which may never come: `sub | head`. */
  watchReader(): void {
    const { fd } = this.#stream as { readonly fd?: number }
    // (the addon asks the system; without it, the next write tells)
    const addon = addonIfPresent()
    if (addon === undefined || fd === undefined || this.#look !== undefined || !isPipe(fd)) return
    this.#look = setInterval(() => {
      if (this.#gone || !addon.isReaderGone(fd)) return
      this.#gone = true
      this.#onGone()
    }, lookMs)
    this.#look.unref()
  }

  /** Ends `watchReader`. */
  dispose(): void {
    clearInterval(this.#look)
  }

  /** True when `flush` should be awaited before more is added. */
  get full(): boolean {
    return this.#size >= chunkBytes
  }

  line(text: string): void {
    this.#parts.push(text, '\n')
    this.#size += text.length + 1
  }

  /** A line of bytes as they are. Copies them: a reader may use their memory again. */
  bytes(data: Uint8Array): void {
    this.#parts.push(Buffer.from(data), '\n')
    this.#size += data.length + 1
  }

  /** Writes what was added and waits until the stream takes more. Throws what writing failed with, except a closed pipe. */
  async flush(): Promise<void> {
    this.#check()
    if (this.#size === 0 || this.#gone) return
    const parts = this.#parts
    this.#parts = []
    this.#size = 0
    const text = parts.every((part) => typeof part === 'string')
    const chunk = text
      ? parts.join('')
      : Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)))
    if (!this.#stream.write(chunk)) await this.#roomy()
    this.#check()
  }

  /** Flushes, and waits until the operating system has everything. */
  async end(): Promise<void> {
    await this.flush()
    if (this.#gone) return
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()))
    this.#check()
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }

  #roomy(): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve) => {
      const done = () => {
        for (const event of ['drain', 'error', 'close']) stream.off(event, done)
        resolve()
      }
      for (const event of ['drain', 'error', 'close']) stream.on(event, done)
    })
  }
}

/** Also a socket: what Node gives a child as its pipe is one. */
function isPipe(fd: number): boolean {
  try {
    const kind = fstatSync(fd)
    return kind.isFIFO() || kind.isSocket()
  } catch {
    return false
  }
}
