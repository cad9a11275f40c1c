import { type BigIntStats, statSync } from 'node:fs'
import type { TopicFile } from '../store/topic-file.js'

/** Clocks of file systems stand still for some milliseconds: a file that was made just now may give way to another one without a trace. */
const traceMs = 100

/**
 * A topic's description as it was read last. The settings of a client that opens an open topic are compared with it. To read it takes half a dozen turns of the event
 * loop, each of which may be a long one while others flood the broker; to see that it is still the same takes one system call.
 */
export class KnownDescription {
  readonly #path: string
  #file: TopicFile | undefined
  /** Which file was read; '' = none, or one that may have been replaced meanwhile. */
  #edition = ''

  /** @param path of topic.json */
  constructor(path: string) {
    this.#path = path
  }

  /** What it says now, unless it has to be read. */
  get current(): TopicFile | undefined {
    return this.#edition !== '' && editionOf(this.#path) === this.#edition ? this.#file : undefined
  }

  /** Reads it. `undefined` if there is none. @throws what `read` throws */
  async read(read: () => Promise<TopicFile | undefined>): Promise<TopicFile | undefined> {
    // (before it is read: what comes later has another edition)
    const edition = editionOf(this.#path)
    const file = await read()
    this.#edition = file === undefined ? '' : edition
    this.#file = file
    return file
  }
}

/** '' if there is nothing, nothing that may be looked at, or something that has just changed. */
function editionOf(path: string): string {
  const found = look(path)
  if (found === undefined) return ''
  const { dev, ino, size, mtimeNs, ctimeNs, ctimeMs } = found
  return Math.abs(Date.now() - Number(ctimeMs)) > traceMs ? `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}` : ''
}

function look(path: string): BigIntStats | undefined {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch {
    return undefined
  }
}
