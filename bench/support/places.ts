import { mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Where a trial keeps its topics. */
export interface Place {
  readonly kind: 'dir' | 'shm'
  /** What `open()` takes. */
  readonly name: string
  /** The directory behind it. */
  readonly path: string
  remove(): void
}

/** Makes places, and leaves none of them behind. */
export class Places {
  readonly #base: string
  readonly #paths = new Set<string>()
  #made = 0

  constructor(directory: string) {
    this.#base = mkdtempSync(join(directory, 'hermes-bench-'))
    this.#paths.add(this.#base)
  }

  make(kind: Place['kind']): Place {
    const count = ++this.#made
    const shared = `bench-${process.pid}-${count}`
    const path = kind === 'shm' ? `/dev/shm/hermes-${shared}` : join(this.#base, String(count))
    const name = kind === 'shm' ? `shm:${shared}` : path
    this.#paths.add(path)
    return { kind, name, path, remove: () => this.#remove(path) }
  }

  removeAll(): void {
    for (const path of this.#paths) this.#remove(path)
  }

  #remove(path: string): void {
    rmSync(path, { recursive: true, force: true })
    this.#paths.delete(path)
  }
}
