import { nanosecondsOf } from '../base/timestamp.js'
import type { From } from '../model/topic.js'
import type { TopicLog } from '../store/topic-log.js'
import { FairLine } from './fair-line.js'

/** Of all topics, under way at once: each takes a thread that files are opened with as well. */
const mostUnderWay = 2

/** At most so many at once; further ones wait, and clients take turns. */
class Gate {
  readonly #most: number
  #inside = 0
  readonly #line = new FairLine<() => void>()

  constructor(most: number) {
    this.#most = most
  }

  async pass<T>(party: string, work: () => Promise<T>): Promise<T> {
    if (this.#inside >= this.#most) await new Promise<void>((resolve) => this.#line.push(party, resolve))
    else this.#inside++
    try {
      return await work()
    } finally {
      // The place goes to the next one.
      const next = this.#line.shift()
      if (next === undefined) this.#inside--
      else next()
    }
  }
}

const threads = new Gate(mostUnderWay)

/**
 * Seeks in one topic, one after the other. To find a sequence or a time may take looking through segments that have no index yet: that is done
 * on another thread, and then the seek itself takes some microseconds. (While another seek of the topic is being prepared it would wait.)
 */
export class SeekQueue {
  readonly #log: Pick<TopicLog, 'prepareSeek'>
  readonly #turns = new Gate(1)

  constructor(log: Pick<TopicLog, 'prepareSeek'>) {
    this.#log = log
  }

  /** Calls `seek` once it will not take long; at once if it never does. Resolves, or rejects, as it does. @param party whose seek it is: parties take turns */
  run<T>(target: From | 'damage', party: string, seek: () => T | Promise<T>): T | Promise<T> {
    if (typeof target === 'string') return seek()
    const where = target instanceof Date ? nanosecondsOf(target) : target
    return this.#turns.pass(party, async () => {
      await threads.pass(party, () => this.#log.prepareSeek(where))
      return seek()
    })
  }
}
