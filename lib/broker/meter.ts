import { type BrokerCounter, type BrokerState, brokerStateAt, counterAt, histogramAt } from '../metrics/broker-words.js'
import { bucketCount, bucketOf } from '../metrics/histogram.js'
import type { NativeMetricsCell } from '../native/metrics-types.js'
import type { PlaceMetrics } from '../store/place-metrics.js'

/** What an event of the broker's log counts as. Others are counted by code: see `noted`. */
const byEvent: Readonly<Record<string, BrokerCounter>> = {
  denied: 'denied',
  lost: 'lost',
  silent: 'silent',
  failed: 'failed',
  limited: 'refusedLimit',
  'too-many-handshakes': 'refusedHandshakes',
  'too-many-from-address': 'refusedAddress',
  'too-many-unauthenticated': 'refusedUnauthenticated',
  'too-many-connections': 'refusedConnections',
  'too-few-descriptors': 'refusedDescriptors',
  'origin-refused': 'refusedOrigin',
  'topic-failed': 'topicFailures',
}

/** Of refused connections, by the code that the client is told. */
const byCode: Readonly<Record<string, BrokerCounter>> = {
  SLOW_CONSUMER: 'slowConsumers',
  UNAUTHORIZED: 'refusedLogin',
  LIMIT: 'refusedLimit',
}

/** The broker's event loop is asked so often how late it is. */
const loopEveryMs = 100

/** What a broker counts: plain stores into its cell of the metrics file, where others read them without asking it. */
export class Meter {
  /** The cell's words; of memory of its own until there is a cell, or where there is none. */
  #words = new Float64Array(histogramAt + bucketCount)
  #cell: NativeMetricsCell | undefined
  #loop: NodeJS.Timeout | undefined

  /** Counts in the place's file from now on, and what it had counted before as well. */
  async open(metrics: PlaceMetrics): Promise<void> {
    const cell = await metrics.cell('broker', '')
    if (cell !== undefined) {
      const words = new Float64Array(cell.region())
      words.set(this.#words)
      this.#words = words
      this.#cell = cell
    }
    let due = performance.now() + loopEveryMs
    this.#loop = setInterval(() => {
      const now = performance.now()
      this.#late(now - due)
      due = now + loopEveryMs
    }, loopEveryMs)
    this.#loop.unref()
  }

  count(counter: BrokerCounter, by = 1): void {
    const at = counterAt[counter]
    this.#words[at] = (this.#words[at] as number) + by
  }

  received(bytes: number): void {
    this.#words[counterAt.receivedBytes] = (this.#words[counterAt.receivedBytes] as number) + bytes
  }

  sent(bytes: number): void {
    this.#words[counterAt.sentBytes] = (this.#words[counterAt.sentBytes] as number) + bytes
  }

  /** What is so now. */
  set(state: BrokerState, value: number): void {
    this.#words[brokerStateAt[state]] = value
  }

  /** Something is about to be written to the log. */
  noted(event: string, { code }: Readonly<Record<string, unknown>>): void {
    const counter = event === 'refused' ? (byCode[String(code)] ?? 'refusedOther') : byEvent[event]
    if (counter !== undefined) this.count(counter)
  }

  /** Gives the cell back: what was counted stays. */
  close(): void {
    clearInterval(this.#loop)
    const words = this.#words.slice()
    this.#cell?.release()
    this.#cell = undefined
    // (what still ends counts in vain)
    this.#words = words
  }

  #late(ms: number): void {
    const us = Math.max(0, ms * 1000)
    const at = histogramAt + bucketOf(us)
    this.#words[at] = (this.#words[at] as number) + 1
    this.count('loopSamples')
    this.count('loopSumUs', Math.round(us))
  }
}
