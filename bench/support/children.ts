import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'

/** What a child says. */
export type Said = { readonly note: unknown } | { readonly result: unknown } | { readonly failed: string }

export interface ChildOptions {
  /** Options of Node's own. */
  readonly nodeArgs?: readonly string[]
  /** A program that runs Node, with its arguments: `['strace', '-f']`. */
  readonly under?: readonly string[]
}

const program = join(import.meta.dirname, '..', 'child.js')
const limitMs = 300_000
const running = new Set<ChildProcess>()

/** A process that plays one role of a workload. */
export class Child<Result> {
  /** Rejects if the role fails, or if the process ends before it has a result. */
  readonly result: Promise<Result>
  readonly #process: ChildProcess
  readonly #notes: unknown[] = []
  #listener: ((note: unknown) => void) | undefined

  /** @param module the workload's file, without its ending */
  constructor(module: string, role: string, args: unknown, options: ChildOptions = {}) {
    const { nodeArgs = [], under = [] } = options
    const [execPath = process.execPath, ...before] = [...under, process.execPath]
    const execArgv = [...before, ...nodeArgs]
    const child = fork(program, [module, role, JSON.stringify(args)], { execPath, execArgv })
    this.#process = child
    running.add(child)
    const timer = setTimeout(() => child.kill('SIGKILL'), limitMs)
    this.result = new Promise((resolve, reject) => {
      let ended: { readonly value: Result } | { readonly failed: string } | undefined
      child.on('message', (said: Said) => {
        if ('note' in said) this.#hear(said.note)
        else ended = 'result' in said ? { value: said.result as Result } : said
      })
      child.once('error', reject)
      // Only now: until it's gone the process may still have files of the place in its hands.
      child.once('close', (code, signal) => {
        clearTimeout(timer)
        running.delete(child)
        const failed = `the process ended (${signal ?? code}) without a result`
        if (ended !== undefined && 'value' in ended) resolve(ended.value)
        else reject(new Error(`${module}, ${role}: ${ended?.failed ?? failed}`))
      })
    })
    // It is awaited later; until then a failure must not count as unhandled.
    this.result.catch(() => {})
  }

  #hear(note: unknown): void {
    const listener = this.#listener
    this.#listener = undefined
    if (listener === undefined) this.#notes.push(note)
    else listener(note)
  }

  /** The next thing that the child tells. */
  heard(): Promise<unknown> {
    if (this.#notes.length > 0) return Promise.resolve(this.#notes.shift())
    const note = new Promise((resolve) => {
      this.#listener = resolve
    })
    return Promise.race([note, this.result.then(() => Promise.reject(new Error('a child ended early')))])
  }

  tell(value: unknown): void {
    this.#process.send({ told: value })
  }
}

/** Runs a role alone, from beginning to end. */
export function runChild<Result>(module: string, role: string, args: unknown, options?: ChildOptions): Promise<Result> {
  return new Child<Result>(module, role, args, options).result
}

/** Ends it too if the run fails. */
export function track(child: ChildProcess): void {
  running.add(child)
  child.once('exit', () => running.delete(child))
}

/** Ends whatever still runs: for the end of a run that failed. */
export function killChildren(): void {
  for (const child of running) child.kill('SIGKILL')
}
