// How many threads it takes: { place, mode, … }, where mode is the name of one of the functions below.
import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { serve } from '../../../dist/broker/index.js'
import { open, raw } from '../../../dist/index.js'
import { options, place, report } from './common.mjs'

const settings = { codec: raw, segmentBytes: 65_536 }
const one = new Uint8Array(100)

function threads() {
  const names = readdirSync('/proc/self/task').map((id) => readFileSync(`/proc/self/task/${id}/comm`, 'utf8').trim())
  const count = (prefix) => names.filter((name) => name.startsWith(prefix)).length
  return { all: names.length, waiting: count('hermes-wait'), own: count('hermes-') }
}

/** Files of topics that are open, without the mappings. */
function descriptors() {
  let found = 0
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${fd}`).startsWith(options.place)) found++
    } catch {
      // closed meanwhile
    }
  }
  return found
}

async function park(hermes, name, count) {
  const subscribers = []
  for (let n = 0; n < count; n++) subscribers.push(await hermes.topic(name, settings).subscriber({ wait: 'park' }))
  return subscribers
}

const modes = {
  /** { subscribers }: all of them asleep, then all woken. */
  async parked() {
    const hermes = await place()
    const publisher = await hermes.topic('news', settings).publisher()
    const subscribers = await park(hermes, 'news', options.subscribers)
    for (let round = 0; round < 3; round++) {
      const waits = Promise.all(subscribers.map((each) => each.ready()))
      await new Promise((resolve) => setTimeout(resolve, 100))
      const asleep = threads()
      publisher.publish(one)
      await waits
      let seen = 0
      for (const each of subscribers) each.poll(() => seen++)
      report('round', { ...asleep, seen })
    }
    await hermes.close()
  },

  /** { publishers, subscribers }: after all further threads were taken away. */
  async limited() {
    await Promise.all(Array.from({ length: 8 }, () => stat('/')))
    const warnings = []
    process.on('warning', ({ code }) => warnings.push(code))
    // A process may always lower its own limits; the program that does it is the last thing it can start.
    const { status } = spawnSync('prlimit', ['--pid', String(process.pid), '--nproc=1:1'])
    report('limited', { status })
    const hermes = await place()
    let seen = 0
    const work = []
    for (let n = 0; n < options.publishers; n++) {
      const topic = hermes.topic(`t${n}`, settings)
      const publisher = await topic.publisher({ durability: n % 2 === 0 ? 'synced' : 'written' })
      const subscribers = await park(hermes, `t${n}`, options.subscribers)
      work.push({ publisher, subscribers, waits: subscribers.map((each) => each.ready()) })
    }
    // More than a segment each, so that the next one has to be made too.
    for (const { publisher } of work)
      for (let n = 0; n < 1000; n++) if (!publisher.publish(one)) await publisher.ready()
    for (const { publisher } of work) await publisher.flush('synced')
    for (const { subscribers, waits } of work) {
      await Promise.all(waits)
      for (const each of subscribers) while (each.poll(() => seen++) > 0);
    }
    let refused = 'none'
    try {
      const publisher = await hermes.topic('t0', settings).publisher({ syncIntervalMs: 5 })
      publisher.publish(one)
      await publisher.flush('written')
    } catch (error) {
      refused = error.code
    }
    report('result', { seen, refused, warnings, ...threads() })
    await hermes.close().catch(() => {})
  },

  /** { topics, publishing }: every fifth or so published to, the others read. */
  async many() {
    const hermes = await place()
    const publishers = []
    for (let n = 0; n < options.topics; n++) {
      const topic = hermes.topic(`topic-${n}`, settings)
      const publisher = await topic.publisher()
      if (n < options.publishing) publishers.push(publisher)
      else {
        await topic.subscriber()
        await publisher.close()
      }
    }
    for (let round = 0; round < 5; round++) {
      for (const each of publishers) for (let n = 0; n < 200; n++) if (!each.publish(one)) await each.ready()
    }
    await Promise.all(publishers.slice(0, 200).map((each) => each.flush('synced')))
    let written = 0
    for (let n = 0; n < 10; n++) written += (await hermes.topic(`topic-${n}`).info()).nextSequence - 1
    report('result', { written, descriptors: descriptors(), ...threads() })
    await hermes.close()
  },

  /** { sizes }: each as the first message of a topic with segments of 256 MiB, here and through a broker. */
  async large() {
    const broker = await serve({ dir: options.place, port: 0 })
    const remote = await open(broker.url ?? `tcp://127.0.0.1:${broker.port}`)
    const local = await place()
    const large = { codec: raw, segmentBytes: 268_435_456, maxPayloadBytes: 8_388_608 }
    for (const [where, hermes] of [
      ['local', local],
      ['remote', remote],
    ]) {
      for (const size of options.sizes) {
        const topic = hermes.topic(`${where}-${size}`, large)
        const publisher = await topic.publisher()
        const subscriber = await topic.subscriber({ from: 'earliest' })
        const value = new Uint8Array(size)
        value[size - 1] = 7
        publisher.publish(value)
        await publisher.flush('written')
        let got = 0
        while (got === 0) {
          await subscriber.ready()
          subscriber.poll((bytes) => {
            got = bytes.length === size && bytes[size - 1] === 7 ? size : -1
          })
        }
        report('message', { where, size, got })
        await publisher.close()
        await subscriber.close()
      }
    }
    await remote.close()
    await local.close()
    await broker.close()
  },
}

await modes[options.mode]()
