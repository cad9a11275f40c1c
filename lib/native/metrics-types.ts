/*
 * What the addon's side of metrics hands out: native/binding/metrics_handle.cc. Tables are rows of numbers in one array; names are lines of text.
 */

/** Who takes a cell. */
export const cellKind = { publisher: 0, subscriber: 1, broker: 2 } as const

export const publisherTotals = 4
export const wideCounters = 32
export const wideStates = 8

/** Columns of `series`: totals of publishers, then counters of subscribers, or of the broker. */
export const seriesColumns = publisherTotals + wideCounters
/** Columns of `cells`: kind, series, pid, since (ms), then totals, then states. */
export const cellColumns = 4 + wideCounters + wideStates
export const topicColumns = 11
export const groupColumns = 15
export const histogramColumns = 3

export interface NativeMetricsCell {
  /** Counters, states and histogram of a wide cell, as doubles: of a broker only. Detached by `release`. */
  region(): ArrayBuffer
  release(): void
}

export interface NativeMetrics {
  /**
   * Rejects with `TIMED_OUT` if another process keeps the file's lock: it does not wait for that, as it holds a thread of the pool. With `isLast` the
   * participant is counted as one without a cell then. `LIMIT`, `CORRUPT`, `DISK_FULL`, `ACCESS_DENIED`, …: the participant goes without.
   */
  take(kind: number, topic: string, fileMode: number, isLast: boolean): Promise<NativeMetricsCell>
  collect(): Promise<NativeCollected>
  close(): void
}

export interface NativeCollected {
  /** Of all series: `other`, the broker's, then topics. The first two have no name. */
  readonly seriesNames: string
  readonly series: Float64Array
  /** Buckets that hold something, by series: series, bucket, count. */
  readonly histograms: Float64Array
  readonly cells: Float64Array
  readonly topicNames: string
  readonly topics: Float64Array
  readonly groupNames: string
  readonly groups: Float64Array
  readonly unmeasured: number
  readonly unnamed: number
  /** 0 = there is no metrics file. */
  readonly createdMs: number
  readonly nowMs: number
}
