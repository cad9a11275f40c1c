import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Where a trial keeps its topics. */
export interface Place {
  readonly kind: 'dir' | 'shm'
  /** What `open()` takes. */
  readonly name: string
  /** The directory behind it. */
  readonly path: string
  remove(): void
}

const chunk = Buffer.alloc(4 << 20, 1)

/**
 * Has the machine hand over as much memory as a trial is going to use, by writing a file of that size and removing it.
 * A virtual machine gives its free memory back to the host, and takes some 8 µs to get a page again: ten times what all
 * else about a page costs, and a matter of what ran before. Half a second later the trial finds it there.
 */
function warmMemory(directory: string, bytes: number): void {
  const file = join(directory, `hermes-bench-warm-${process.pid}`)
  const fd = openSync(file, 'w')
  try {
    for (let written = 0; written < bytes; written += chunk.length) writeSync(fd, chunk)
  } finally {
    closeSync(fd)
    rmSync(file)
  }
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

  /** A new place, in a file system that just held a file of `warmBytes`. */
  make(kind: Place['kind'], warmBytes = 512 << 20): Place {
    const count = ++this.#made
    const shared = `bench-${process.pid}-${count}`
    const path = kind === 'shm' ? `/dev/shm/hermes-${shared}` : join(this.#base, String(count))
    const name = kind === 'shm' ? `shm:${shared}` : path
    this.#paths.add(path)
    warmMemory(dirname(path), warmBytes)
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
