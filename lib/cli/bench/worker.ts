/** One process of a benchmark: opens what it needs, says so, waits for the word to go, and reports what it measured. */
import { once } from 'node:events'
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { open } from '../../client/open.js'
import { f64, u53 } from '../../codec/struct/field.js'
import { struct } from '../../codec/struct/struct.js'
import type { Answer, Latency, Outcome, Task } from './task.js'

/** 64 bytes, as a quote of a market has them. */
const message = struct({ id: u53, time: f64, ask: f64, askSize: f64, bid: f64, bidSize: f64, last: f64, lastSize: f64 })
const value = { id: 0, time: 0, ask: 101.25, askSize: 300, bid: 101.24, bidSize: 200, last: 101.25, lastSize: 10 }

/** Tells the other side to end. */
const lastId = Number.MAX_SAFE_INTEGER
/** Enough for the optimising compiler to have seen the loop. */
const warmUpMessages = 200_000
const warmUpRounds = 20_000
/** Polls in place between two turns of the event loop, by which the end of the parent is noticed. */
const pollsPerTurn = 100_000

/** Resolves with the work itself, once everything is open. */
type Prepared = () => Promise<Outcome>

function prepare(task: Task): Promise<Prepared> {
  switch (task.role) {
    case 'publish':
      return preparePublish(task.place, task.messages, task.batch)
    case 'publish-synced':
      return prepareSynced(task.place, task.messages, task.awaiting)
    case 'receive':
      return prepareReceive(task.place, task.messages)
    case 'ping':
      return preparePing(task.place, task.rounds)
    case 'pong':
      return preparePong(task.place)
  }
}

async function preparePublish(place: string, messages: number, batch: number): Promise<Prepared> {
  const hermes = await open(place)
  const warmUp = await hermes.topic('warm-up', { codec: message }).publisher()
  const publisher = await hermes.topic('messages', { codec: message }).publisher()
  const values = Array.from({ length: batch }, () => ({ ...value }))
  const publish = (to: typeof publisher, count: number): number => {
    if (batch === 1) {
      for (let id = 1; id <= count; id++) {
        value.id = id
        to.publish(value)
      }
      return count
    }
    let id = 0
    while (id < count) {
      for (const one of values) one.id = ++id
      to.publishBatch(values)
    }
    return id
  }
  publish(warmUp, warmUpMessages)
  return async () => {
    const begun = performance.now()
    const published = publish(publisher, messages)
    const seconds = (performance.now() - begun) / 1000
    // The receiver waits for this, and it does not count.
    value.id = lastId
    publisher.publish(value)
    await hermes.close()
    return { messages: published, seconds }
  }
}

async function prepareSynced(place: string, messages: number, awaiting: number): Promise<Prepared> {
  const hermes = await open(place)
  const publisher = await hermes.topic('messages', { codec: message }).publisher({ durability: 'synced' })
  return async () => {
    const histogram = createHistogram()
    const publishOne = async () => {
      const begun = performance.now()
      await publisher.publishAsync(value)
      record(histogram, performance.now() - begun)
    }
    const begun = performance.now()
    for (let done = 0; done < messages; done += awaiting)
      await Promise.all(Array.from({ length: awaiting }, publishOne))
    const seconds = (performance.now() - begun) / 1000
    await hermes.close()
    return { messages, seconds, latencyNs: latencyOf(histogram) }
  }
}

async function prepareReceive(place: string, messages: number): Promise<Prepared> {
  const hermes = await open(place)
  const subscriber = await hermes.topic('messages', { codec: message }).subscriber({ from: 'earliest', wait: 'spin' })
  return async () => {
    let received = 0
    let begun = 0
    let ended = 0
    let wrong = 0
    while (ended === 0) {
      for (let i = 0; i < pollsPerTurn && ended === 0; i++) {
        subscriber.poll((view) => {
          const { id } = view
          if (id === 1) begun = performance.now()
          if (id === lastId) ended = performance.now()
          else if (id !== ++received) wrong++
        }, 1024)
      }
      await turn()
    }
    await hermes.close()
    if (wrong > 0 || received < messages) throw new Error(`received ${received} of ${messages}, ${wrong} out of order`)
    return { messages: received, seconds: (ended - begun) / 1000 }
  }
}

async function preparePing(place: string, rounds: number): Promise<Prepared> {
  const hermes = await open(place)
  const publisher = await hermes.topic('ping', { codec: message }).publisher()
  const subscriber = await hermes.topic('pong', { codec: message }).subscriber({ from: 'earliest', wait: 'spin' })
  return async () => {
    const histogram = createHistogram()
    let answered = 0
    const onAnswer = (view: { readonly id: number }) => {
      answered = view.id
    }
    const exchange = async (first: number, count: number, measured: boolean) => {
      for (let id = first; id < first + count; id++) {
        const begun = performance.now()
        value.id = id
        publisher.publish(value)
        for (let polls = 0; answered !== id; polls++) {
          subscriber.poll(onAnswer)
          if (polls === pollsPerTurn) {
            polls = 0
            await turn()
          }
        }
        if (measured) record(histogram, performance.now() - begun)
      }
    }
    await exchange(1, warmUpRounds, false)
    const begun = performance.now()
    await exchange(warmUpRounds + 1, rounds, true)
    const seconds = (performance.now() - begun) / 1000
    value.id = lastId
    publisher.publish(value)
    await hermes.close()
    return { messages: rounds, seconds, latencyNs: latencyOf(histogram) }
  }
}

async function preparePong(place: string): Promise<Prepared> {
  const hermes = await open(place)
  const subscriber = await hermes.topic('ping', { codec: message }).subscriber({ from: 'earliest', wait: 'spin' })
  const publisher = await hermes.topic('pong', { codec: message }).publisher()
  return async () => {
    let answered = 0
    let ended = false
    const begun = performance.now()
    while (!ended) {
      for (let i = 0; i < pollsPerTurn && !ended; i++) {
        subscriber.poll((view) => {
          ended = view.id === lastId
          if (ended) return
          value.id = view.id
          publisher.publish(value)
          answered++
        })
      }
      await turn()
    }
    await hermes.close()
    return { messages: answered, seconds: (performance.now() - begun) / 1000 }
  }
}

function record(histogram: RecordableHistogram, ms: number): void {
  histogram.record(Math.max(1, Math.round(ms * 1_000_000)))
}

function latencyOf(histogram: RecordableHistogram): Latency {
  const at = (percentile: number) => histogram.percentile(percentile)
  return { p50: at(50), p99: at(99), p999: at(99.9), max: histogram.max }
}

function answer(content: Answer): Promise<void> {
  return new Promise((resolve) => process.send?.(content, undefined, undefined, () => resolve()))
}

// Otherwise nothing would stop this process.
process.once('disconnect', () => process.exit(1))
try {
  const work = await prepare(JSON.parse(process.argv[2] as string) as Task)
  const go = once(process, 'message')
  await answer({ ready: true })
  await go
  await answer({ outcome: await work() })
} catch (error) {
  await answer({ error: error instanceof Error ? error.message : String(error) })
}
// Stays until the parent ends it: of a process that is gone, the end can be noticed before its last words.
process.channel?.ref()
