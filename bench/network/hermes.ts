// Hermes's side of the network workload: each role in a process of its own.
import { open } from 'hermes-mq'
import { Sender } from '../publish.js'
import { monotonicNs, pause } from '../support/clock.js'
import { Latencies } from '../support/histogram.js'
import { Quote, QuoteChecker, type QuoteFields, QuotePool } from '../support/quote.js'
import type { Link, Roles } from '../support/workload.js'
import { cpuNs, type FlowArgs, type PacedArgs, type PingArgs, type Received, type Sent } from './roles.js'

type Handler = (quote: Readonly<QuoteFields>, message: { readonly sequence: number }) => void

async function publisher({ url, batch, warmup, count }: FlowArgs, link: Link): Promise<Sent> {
  await using hermes = await open(url)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher()
  const sender = new Sender(publisher, batch)
  link.tell('open')
  await link.heard()
  await sender.send(1, warmup)
  await publisher.flush()
  link.tell('warm')
  await link.heard()
  const used = cpuNs()
  const begunNs = monotonicNs()
  await sender.send(warmup + 1, warmup + count)
  await publisher.flush()
  return { begunNs, cpuNs: cpuNs() - used }
}

/** Publishes at a steady rate, in a burst for each millisecond that a timer brings. */
async function pacedPublisher({ url, rate, warmup, count }: PacedArgs, link: Link): Promise<Sent> {
  await using hermes = await open(url)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher()
  const pool = new QuotePool()
  link.tell('open')
  await link.heard()
  const started = performance.now()
  let used = 0
  let begunNs = 0
  for (let id = 1; id <= warmup + count; ) {
    const due = Math.min(warmup + count, Math.floor(((performance.now() - started) / 1000) * rate))
    for (; id <= due; id++) {
      if (id === warmup + 1) {
        used = cpuNs()
        begunNs = monotonicNs()
        link.tell('warm')
      }
      if (!publisher.publish(pool.at(id))) await publisher.ready()
    }
    await pause(1)
  }
  await publisher.flush()
  return { begunNs, cpuNs: cpuNs() - used }
}

async function subscriber({ url, warmup, count }: FlowArgs, link: Link): Promise<Received> {
  await using hermes = await open(url)
  const subscriber = await hermes.topic('bench', { codec: Quote }).subscriber({ from: 'earliest', wait: 'park' })
  const checker = new QuoteChecker()
  const checkAll: Handler = (quote, { sequence }) => checker.check(quote, sequence)
  let seen = 0
  const checkNumber: Handler = (quote, { sequence }) => {
    if (quote.id !== ++seen || sequence !== seen) throw new Error(`message ${seen} arrived as ${quote.id}`)
  }
  const receive = async (last: number, handler: Handler) => {
    for (let done = subscriber.position - 1; done < last; ) {
      const found = subscriber.poll(handler)
      if (found === 0) await subscriber.ready()
      done += found
    }
  }
  monotonicNs()
  link.tell('open')
  await link.heard()
  await receive(warmup, checkNumber)
  link.tell('warm')
  await pause(1)
  const used = cpuNs()
  await receive(warmup + count, checkNumber)
  const endedNs = monotonicNs()
  const received: Received = { endedNs, cpuNs: cpuNs() - used }
  link.tell('done')
  await link.heard()
  // The clock has stopped: now every field of every message, as it comes over the same way.
  subscriber.seek(1)
  await receive(warmup + count, checkAll)
  checker.expect(warmup + count)
  return received
}

/** One message at a time: the next once the one before has arrived. Two connections in one process, so that one clock tells both ends. */
async function pings({ url, spin, warmup, count }: PingArgs): Promise<string> {
  await using there = await open(url)
  await using here = await open(url)
  const publisher = await there.topic('ping', { codec: Quote }).publisher()
  const wait = spin ? 'spin' : 'park'
  const subscriber = await here.topic('ping', { codec: Quote }).subscriber({ from: 'earliest', wait })
  const pool = new QuotePool()
  const checker = new QuoteChecker()
  const handler: Handler = (quote, { sequence }) => checker.check(quote, sequence)
  const latencies = new Latencies()
  for (let id = 1; id <= warmup + count; id++) {
    const begun = performance.now()
    publisher.publish(pool.at(id))
    while (subscriber.poll(handler) === 0) await subscriber.ready()
    const ns = (performance.now() - begun) * 1e6
    if (id > warmup) latencies.record(ns)
  }
  checker.expect(warmup + count)
  return latencies.encode()
}

export const roles: Roles = { publisher, pacedPublisher, subscriber, pings }
