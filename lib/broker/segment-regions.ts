import type { NativePosition, NativeReader } from '../native/types.js'
import type { MappedSegment, SharedSegments } from '../store/log-cursor.js'
import type { TopicLog } from '../store/topic-log.js'

/** Unread regions are kept for this time, so that a reader that alternates between segments does not map them each time. */
const keptMs = 1000
/** Of one topic, kept without a reader. */
const mostKept = 4

interface Entry extends MappedSegment {
  readonly segment: number
  readonly holder: NativeReader
  readers: number
  /** When the last one has left. */
  idleSince: number
}

/**
 * The mapped segments of one topic as JavaScript sees them: one buffer for a segment, however many subscribers read there. V8 takes a
 * mapping for memory of its own, and collects garbage for some milliseconds whenever one of many megabytes is made.
 */
export class SegmentRegions implements SharedSegments {
  readonly #log: TopicLog
  readonly #entries = new Map<number, Entry>()
  /** Entries without a reader. */
  #idle = 0
  #closed = false

  constructor(log: TopicLog) {
    this.#log = log
  }

  /**
   * The segment of the position, until `leave` is called. `undefined` if it can't be shared: retention has removed it meanwhile.
   *
   * @throws HermesError what mapping a file throws
   */
  enter(at: NativePosition): MappedSegment | undefined {
    const known = this.#entries.get(at.segment)
    if (known !== undefined) {
      if (known.readers++ === 0) this.#idle--
      return known
    }
    const holder = this.#log.openReader()
    let buffer: ArrayBuffer | null = null
    try {
      if (holder.seek(at.sequence)?.segment === at.segment) buffer = holder.region()
    } catch {
      // (the position may be just behind the end, or removed: then the reader maps its segment by itself)
    }
    if (buffer === null) {
      holder.close()
      return undefined
    }
    const { segment } = at
    const region = { bytes: new Uint8Array(buffer), data: new DataView(buffer) }
    const entry: Entry = { segment, region, commits: new Int32Array(buffer), holder, readers: 1, idleSince: 0 }
    this.#entries.set(segment, entry)
    return entry
  }

  leave(mapped: MappedSegment): void {
    const entry = mapped as Entry
    if (--entry.readers > 0) return
    this.#idle++
    entry.idleSince = performance.now()
    if (this.#closed) this.#forget(entry)
    else this.sweep(entry.idleSince)
  }

  /** Releases regions that were not read for a while. Call about once per second. */
  sweep(now: number): void {
    if (this.#idle === 0) return
    // Oldest first: a map hands out what it was given first.
    const idle = [...this.#entries.values()].filter((entry) => entry.readers === 0)
    idle.sort((one, other) => one.idleSince - other.idleSince)
    idle.forEach((entry, index) => {
      if (idle.length - index > mostKept || now - entry.idleSince > keptMs) this.#forget(entry)
    })
  }

  #forget(entry: Entry): void {
    this.#entries.delete(entry.segment)
    this.#idle--
    // Detaches the buffer.
    entry.holder.close()
  }

  /** What is still being read goes with its last reader. */
  close(): void {
    this.#closed = true
    for (const entry of [...this.#entries.values()]) if (entry.readers === 0) this.#forget(entry)
  }
}
