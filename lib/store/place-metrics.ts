import { setTimeout as sleep } from 'node:timers/promises'
import { native } from '../native/addon.js'
import { advice, fromNative } from '../native/error.js'
import { cellKind, type NativeCollected, type NativeMetrics, type NativeMetricsCell } from '../native/metrics-types.js'
import type { Directory } from './directory.js'

/** How long a participant waits for the lock of the file. It is held for moments only, unless its holder was stopped. */
const lockTimeoutMs = 1000
const mostPauseMs = 50

/** A damaged metrics file says itself what to do; `hermes repair` is for topics. */
const { CORRUPT: _, ...metricsAdvice } = advice

/** The metrics file of a directory: see docs/metrics-format.md. Opened, and made, when the first participant comes. */
export class PlaceMetrics {
  readonly #native: NativeMetrics
  readonly #fileMode: number

  constructor(directory: Directory) {
    this.#native = new native.Metrics(directory.path)
    this.#fileMode = directory.fileMode
  }

  /**
   * A participant's cell. `undefined`: it is not counted, as there is no room in the file, or the file can't be written or used. The file counts
   * those itself, and a request for metrics reports what is wrong with it: publishing and reading are not affected.
   */
  async cell(kind: keyof typeof cellKind, topic: string): Promise<NativeMetricsCell | undefined> {
    const begun = performance.now()
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, mostPauseMs)) {
      const isLast = performance.now() - begun >= lockTimeoutMs
      try {
        return await this.#native.take(cellKind[kind], topic, this.#fileMode, isLast)
      } catch (error) {
        const { code } = error as { code?: unknown }
        // (any other error is a mistake of ours)
        if (code === undefined) throw error
        if (code !== 'TIMED_OUT' || isLast) return undefined
      }
      await sleep(pauseMs)
    }
  }

  /** Has a publisher's or a subscriber's native half count in a cell of its own, until it is closed. */
  async count(
    who: { countIn(cell: NativeMetricsCell): void },
    kind: 'publisher' | 'subscriber',
    topic: string,
  ): Promise<void> {
    const cell = await this.cell(kind, topic)
    if (cell === undefined) return
    try {
      who.countIn(cell)
    } finally {
      // (it keeps the cell for itself)
      cell.release()
    }
  }

  /** Releases the file, once no participant of this process has a cell in it. Later participants are not counted. */
  close(): void {
    this.#native.close()
  }

  /** All that is counted, and what the files of topics and groups say: off the event loop. @throws HermesError `CORRUPT`, `VERSION_MISMATCH` */
  async collect(): Promise<NativeCollected> {
    try {
      return await this.#native.collect()
    } catch (error) {
      throw fromNative(error, {}, metricsAdvice)
    }
  }
}
