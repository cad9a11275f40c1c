import { HermesError } from '../base/errors.js'
import { type StopSignal, stopSignals } from './exit.js'
import { Output } from './output.js'

/** What a command has of the world around it. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
  readonly env: NodeJS.ProcessEnv
}

/** One run of a command: its streams, and the signal by which everything that waits is stopped. */
export class Session {
  readonly streams: Streams
  readonly out: Output
  /** Set by `--json` before the command runs. */
  json = false
  /** Set by `--quiet`. */
  quiet = false
  /** The exit code of the program that the command ran, and takes for its own. */
  childExit: number | undefined
  /** The signal that asked the command to stop, if one did. */
  stoppedBy: StopSignal | undefined
  readonly #stop = new AbortController()
  readonly #listeners = new Map<StopSignal, () => void>()

  constructor(streams: Streams) {
    this.streams = streams
    // The reader of our output has ended: there is nothing left to do, and that is no failure.
    this.out = new Output(streams.stdout, () => this.#stop.abort())
    // A closed stderr is no reason to fail either.
    streams.stderr.on('error', () => {})
    for (const name of Object.keys(stopSignals) as StopSignal[]) {
      const listener = () => this.#stopBy(name)
      this.#listeners.set(name, listener)
      process.on(name, listener)
    }
  }

  /** Fires when the command should come to its end. */
  get signal(): AbortSignal {
    return this.#stop.signal
  }

  get stopping(): boolean {
    return this.#stop.signal.aborted
  }

  /** From now on SIGHUP does not stop the command, but has `work` done. */
  onHangup(work: () => void): void {
    const before = this.#listeners.get('SIGHUP')
    if (before !== undefined) process.off('SIGHUP', before)
    this.#listeners.set('SIGHUP', work)
    process.on('SIGHUP', work)
  }

  /**
   * Fires as `signal` does, or after `ms`. With a timer of our own: Node 20 may forget an AbortSignal.timeout that
   * nothing but AbortSignal.any refers to.
   */
  signalWithin(ms: number): AbortSignal {
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(), ms)
    const stop = () => {
      clearTimeout(timer)
      controller.abort()
    }
    if (this.stopping) stop()
    else this.signal.addEventListener('abort', stop, { once: true })
    return controller.signal
  }

  /** A line for people, on stderr. Left out by `--quiet`. */
  note(text: string): void {
    if (!this.quiet) this.streams.stderr.write(`${text}\n`)
  }

  /** Prints a failure on stderr: a line for people, or a JSON object. */
  fail(error: unknown): void {
    const { stderr } = this.streams
    const { code, message, details } = described(error)
    if (this.json) {
      stderr.write(`${JSON.stringify({ error: { code, message, details } })}\n`)
      return
    }
    const label = this.#paint(stderr, 31, 'hermes:')
    stderr.write(`${label} ${visible(message)} [${code}]\n`)
    if (this.streams.env['HERMES_DEBUG'] && error instanceof Error) stderr.write(`${error.stack}\n`)
  }

  /** Text in bold on a terminal that wants colours, as it is elsewhere. */
  bold(text: string): string {
    return this.#paint(this.streams.stdout, 1, text)
  }

  dispose(): void {
    this.out.dispose()
    for (const [name, listener] of this.#listeners) process.off(name, listener)
  }

  #paint(stream: NodeJS.WriteStream, style: number, text: string): string {
    const { env } = this.streams
    const plain = !stream.isTTY || (env['NO_COLOR'] ?? '') !== '' || env['TERM'] === 'dumb'
    return plain ? text : `\u001b[${style}m${text}\u001b[0m`
  }

  #stopBy(name: StopSignal): void {
    // The second time, the user does not want to wait for an orderly end.
    if (this.stoppedBy !== undefined) process.exit(stopSignals[name])
    this.stoppedBy = name
    this.#stop.abort()
  }
}

function described(error: unknown): { code: string; message: string; details: Readonly<Record<string, unknown>> } {
  if (error instanceof HermesError) return error
  const message = error instanceof Error ? error.message : String(error)
  return { code: 'FAILED', message, details: {} }
}

/** Control characters made visible, so that data cannot drive the terminal. */
export function visible(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  return text.replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, (char) => {
    return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
  })
}
