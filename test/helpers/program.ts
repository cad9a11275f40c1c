import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, onTestFinished } from 'vitest'
import { root } from './folder.js'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A line that a program reports: an object with what it's about in `is`. */
export interface Report {
  readonly is: string
  readonly [key: string]: unknown
}

export const programsFolder = join(root, 'test', 'process', 'programs')

/** A child process that runs one of test/process/programs and reports in JSON lines on its standard output. */
export class Program {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Everything it reported so far. */
  readonly reports: Report[] = []
  #stderr = ''
  #waiting: (() => void)[] = []

  private constructor(child: ChildProcess) {
    this.child = child
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        resolve({ code, signal })
        this.#wake()
      })
    })
    child.stderr?.on('data', (chunk) => (this.#stderr += String(chunk)))
    if (child.stdout !== null) {
      createInterface({ input: child.stdout }).on('line', (line) => {
        this.reports.push(line.startsWith('{') ? (JSON.parse(line) as Report) : { is: 'text', line })
        this.#wake()
      })
    }
  }

  /** Starts `name` with `options`, which it receives as JSON. It is killed when the test ends, if it still runs then. */
  static start(
    name: string,
    options: object,
    spawning: SpawnOptions & { nodeOptions?: string[]; under?: string[] } = {},
  ): Program {
    const { nodeOptions = [], under = [], ...rest } = spawning
    const [program, ...args] = [
      ...under,
      process.execPath,
      ...nodeOptions,
      join(programsFolder, name),
      JSON.stringify(options),
    ]
    const started = new Program(spawn(program!, args, { stdio: ['pipe', 'pipe', 'pipe'], ...rest }))
    onTestFinished(async () => {
      if (started.child.exitCode === null && started.child.signalCode === null) started.kill()
      await started.ended.catch(() => {})
    })
    return started
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.child.kill(signal)
  }

  /** Writes a line to its standard input. */
  tell(line: string): void {
    this.child.stdin?.write(`${line}\n`)
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  get stderr(): string {
    return this.#stderr
  }

  /** The newest report about `is`; waits for the first one. Rejects if the program ends without. */
  async report(is: string): Promise<Report> {
    for (;;) {
      const found = this.reports.findLast((report) => report.is === is)
      if (found !== undefined) return found
      let over = false
      await Promise.race([
        new Promise<void>((resolve) => this.#waiting.push(resolve)),
        this.ended.then(() => (over = true)),
      ])
      if (over && !this.reports.some((report) => report.is === is)) {
        throw new Error(
          `the program ended with ${JSON.stringify(await this.ended)} and no report '${is}'.\n${this.#stderr}`,
        )
      }
    }
  }

  /** Waits for its end and expects that to be in order. */
  async finish(): Promise<void> {
    const ended = await this.ended
    expect({ ...ended, stderr: this.#stderr }).toEqual({ code: 0, signal: null, stderr: expect.any(String) })
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }
}
