import { nanosecondsOf } from '../base/timestamp.js'
import type { From } from '../model/topic.js'
import type { TopicLog } from '../store/topic-log.js'

/** Of all topics, under way at once: each takes a thread that files are opened with as well. */
const mostUnderWay = 2

let underWay = 0
/** Those who wait for one of these threads, oldest first. */
const line: (() => void)[] = []

/**
 * Seeks in one topic, one after the other. To find a sequence or a time may take looking through segments that have no index yet: that is done
 * on another thread, and then the seek itself takes some microseconds. (While another seek of the topic is being prepared it would wait.)
 */
export class SeekQueue {
  readonly #log: TopicLog
  #last: Promise<unknown> = Promise.resolve()

  constructor(log: TopicLog) {
    this.#log = log
  }

  /** Calls `seek` once it will not take long; at once if it never does. Resolves, or rejects, as it does. */
  run<T>(target: From | 'damage', seek: () => T): T | Promise<T> {
    if (typeof target === 'string') return seek()
    const where = target instanceof Date ? nanosecondsOf(target) : target
    const done = this.#last.then(async () => {
      await this.#prepare(where)
      return seek()
    })
    this.#last = done.catch(() => {})
    return done
  }

  async #prepare(where: number | bigint): Promise<void> {
    if (underWay >= mostUnderWay) await new Promise<void>((resolve) => line.push(resolve))
    else underWay++
    try {
      await this.#log.prepareSeek(where)
    } finally {
      // The thread goes to the next one.
      const next = line.shift()
      if (next === undefined) underWay--
      else next()
    }
  }
}
