// Publishers and a subscriber of one topic, whose cluster goes through a fault meanwhile.
import { setTimeout as sleep } from 'node:timers/promises'
import { faultsOf } from './oracle.mjs'

/** How long everything may take to come in once the fault is over: an election takes 4 to 9 s. */
const settleMs = 90_000
const topicName = 'orders'

/** Publishes without end, and notes what was acknowledged, and as what. */
class Writer {
  sent = 0
  acknowledged = new Map()
  failures = []
  #name
  #publisher
  #stop = false
  #running

  constructor(name, publisher) {
    this.#name = name
    this.#publisher = publisher
  }

  /** @param heard called with each acknowledgement */
  start(heard) {
    this.sent = 0
    this.acknowledged = new Map()
    this.failures = []
    this.#stop = false
    this.#running = this.#run(heard).catch((error) => this.failures.push(error))
  }

  async #run(heard) {
    while (!this.#stop) {
      for (let n = 0; n < 7; n++) {
        const value = `${this.#name}:${this.sent++}`
        this.#publisher.publishAsync(value).then(
          ({ sequence }) => {
            this.acknowledged.set(value, sequence)
            heard()
          },
          (error) => this.failures.push(error),
        )
      }
      await this.#publisher.ready({ timeoutMs: settleMs })
      await sleep(10)
    }
    await this.#publisher.flush(undefined, { timeoutMs: settleMs })
  }

  async stop() {
    this.#stop = true
    await this.#running
  }
}

/** Three publishers on two connections, and a subscriber. */
export class Traffic {
  #api
  #connections
  #writers
  #subscriber
  #seen = []
  #reading
  #next

  /** @param api what hermes-mq exports */
  static async open(api, url) {
    const traffic = new Traffic()
    traffic.#api = api
    traffic.#connections = [await api.open(url, { replicas: 3 }), await api.open(url)]
    const [first, second] = traffic.#connections
    const topic = (hermes) => hermes.topic(topicName, { codec: api.text })
    traffic.#writers = await Promise.all(
      [first, first, second].map(async (hermes, n) => new Writer(`w${n}`, await topic(hermes).publisher())),
    )
    traffic.#next = (await first.info(topicName)).nextSequence
    traffic.#subscriber = await topic(second).subscriber({ from: traffic.#next })
    traffic.#reading = (async () => {
      for await (const { sequence, value } of traffic.#subscriber) traffic.#seen.push([sequence, value])
    })()
    traffic.#reading.catch(() => {})
    return traffic
  }

  /**
   * One round: publishes while `fault` is at work, then stops, and compares.
   *
   * @returns `{ faults, messages, gapMs }`: `gapMs` is the longest time without an acknowledgement
   */
  async round(fault) {
    this.#seen.length = 0
    const first = this.#next
    let heard = performance.now()
    let gapMs = 0
    const hear = () => {
      const now = performance.now()
      gapMs = Math.max(gapMs, now - heard)
      heard = now
    }
    for (const writer of this.#writers) writer.start(hear)
    try {
      await fault()
    } finally {
      await Promise.all(this.#writers.map((writer) => writer.stop()))
    }
    const failed = this.#writers.flatMap(({ failures }) => failures)
    if (failed.length > 0) throw failed[0]
    const sent = this.#writers.reduce((sum, writer) => sum + writer.sent, 0)
    // (the subscriber may be looking for its place still)
    for (const until = performance.now() + settleMs; this.#seen.length < sent && performance.now() < until; ) {
      await Promise.race([sleep(20), this.#reading])
    }
    const stored = await this.#stored(first, sent)
    this.#next = first + sent
    return { faults: faultsOf(stored, this.#seen, this.#writers), messages: sent, gapMs }
  }

  /** What a new subscriber reads, up to the end of the topic. */
  async #stored(first, sent) {
    const [hermes] = this.#connections
    const topic = hermes.topic(topicName, { codec: this.#api.text })
    const subscriber = await topic.subscriber({ from: first, until: 'latest' })
    const stored = []
    try {
      for await (const { sequence, value } of subscriber) {
        stored.push([sequence, value])
        // (more than there can be is a fault of its own, and tells itself)
        if (stored.length > 2 * sent) break
      }
    } finally {
      await subscriber.close()
    }
    return stored
  }

  async close() {
    await this.#subscriber?.close()
    await Promise.all(this.#connections.map((hermes) => hermes.close({ timeoutMs: 10_000 }).catch(() => {})))
  }
}

/** Which server leads the topic. */
export async function leaderOf(cluster, streamsOf) {
  for (const until = performance.now() + settleMs; ; await sleep(100)) {
    // (who asks during an election may not be answered at all)
    const name = await streamsOf(
      cluster.url,
      async (manager) => (await manager.streams.info(`HERMES_${topicName}`)).cluster?.leader,
      { timeout: 2000 },
    ).catch(() => undefined)
    if (name) return Number(name.slice(1))
    if (performance.now() > until) throw new Error('there is no leader')
  }
}

/** Waits until every server of the topic has what its leader has: so one fault at a time is a fault of a minority. */
export async function untilCurrent(cluster, streamsOf) {
  for (const until = performance.now() + settleMs; ; await sleep(200)) {
    const info = await streamsOf(cluster.url, (manager) => manager.streams.info(`HERMES_${topicName}`), {
      timeout: 2000,
    }).catch(() => undefined)
    const { leader, replicas = [] } = info?.cluster ?? {}
    if (leader && replicas.length === 2 && replicas.every(({ current, offline }) => current && !offline)) return
    if (performance.now() > until)
      throw new Error(`the servers do not come together again: ${JSON.stringify(info?.cluster)}`)
  }
}
