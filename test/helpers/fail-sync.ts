import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Makes fdatasync fail in a process that was started with `env`. */
export class FailingSync {
  readonly env: Readonly<Record<string, string>>
  readonly #orders: string

  private constructor(library: string, orders: string) {
    this.#orders = orders
    this.env = { LD_PRELOAD: library, HERMES_TEST_SYNC: orders }
  }

  /** `undefined` if there is no C compiler. */
  static make(folder: string): FailingSync | undefined {
    const library = join(folder, 'fail-sync.so')
    const source = join(import.meta.dirname, 'fail-sync.c')
    const made = spawnSync('cc', ['-shared', '-fPIC', '-O1', '-o', library, source, '-ldl', '-lpthread'])
    if (made.error !== undefined) return undefined
    if (made.status !== 0) throw new Error(String(made.stderr))
    return new FailingSync(library, join(folder, 'orders'))
  }

  /** The next so many syncs of topics' files fail. */
  fail(errno: number, times: number): void {
    writeFileSync(this.#orders, `${errno} ${times}\n`)
  }

  /** How many are to fail still. */
  get left(): number {
    return Number(readFileSync(this.#orders, 'latin1').split(' ')[1])
  }
}
