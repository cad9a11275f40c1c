// Topics in a cluster of three servers of NATS JetStream, beside the bare client of NATS doing the same, in turns in one run; and how long nothing is acknowledged when the leader is lost.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { type JetStreamManager, jetstream, jetstreamManager, RetentionPolicy, StorageType } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { open } from 'hermes-mq'
import { Child, runChild } from './support/children.js'
import { digits, duration, range } from './support/format.js'
import { Latencies } from './support/histogram.js'
import { root } from './support/machine.js'
import { Quote, type QuoteFields, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Link, Roles, Workload } from './support/workload.js'

const mostMs = 2000
const warmUp = 200
const batchMessages = 4096
const inFlight = 256
const messageBytes = 64
/** Elections, each of some seconds. */
const mostElections = 3

interface Server {
  kill(): Promise<void>
  start(): Promise<void>
}
interface Servers {
  readonly servers: readonly Server[]
  readonly url: string
  close(): Promise<void>
}
interface Scripts {
  natsMissing(): string | undefined
  startServers(options: { size: number; folder: string; jetstream: string }): Promise<Servers>
  streamsOf<T>(url: string, work: (manager: JetStreamManager) => Promise<T>): Promise<T>
}

const load = (file: string) => import(pathToFileURL(join(root, 'scripts', file)).href)

/** Messages per second, and what each took if they were sent one at a time. */
interface Rate {
  readonly perSecond: number
  readonly latency?: string
}

interface Args {
  readonly url: string
  readonly topic: string
}

async function rateOf(work: () => Promise<number>): Promise<number> {
  const begun = performance.now()
  let count = 0
  do count += await work()
  while (performance.now() - begun < mostMs)
  return (count * 1000) / (performance.now() - begun)
}

async function latencyOf(send: (n: number) => Promise<unknown>): Promise<Rate> {
  const latencies = new Latencies()
  for (let n = 0; n < warmUp; n++) await send(n)
  let n = warmUp
  const perSecond = await rateOf(async () => {
    const begun = performance.now()
    await send(n++)
    latencies.record((performance.now() - begun) * 1e6)
    return 1
  })
  return { perSecond, latency: latencies.encode() }
}

async function batched({ url, topic }: Args): Promise<Rate> {
  await using hermes = await open(url, { replicas: 3 })
  const publisher = await hermes.topic(topic, { codec: Quote }).publisher({ durability: 'replicated' })
  const pool = new QuotePool()
  const batch: QuoteFields[] = Array.from({ length: batchMessages }, (_, n) => pool.at(n))
  const send = async () => {
    publisher.publishBatch(batch)
    await publisher.ready()
    return batchMessages
  }
  await send()
  await publisher.flush()
  const begun = performance.now()
  let count = 0
  do count += await send()
  while (performance.now() - begun < mostMs)
  await publisher.flush()
  const perSecond = (count * 1000) / (performance.now() - begun)
  const { nextSequence } = await hermes.info(topic)
  if ((nextSequence - 1) % batchMessages !== 0) throw new Error(`the topic has ${nextSequence - 1} messages`)
  return { perSecond }
}

async function single({ url, topic }: Args): Promise<Rate> {
  await using hermes = await open(url, { replicas: 3 })
  const publisher = await hermes.topic(topic, { codec: Quote }).publisher({ durability: 'replicated' })
  const pool = new QuotePool()
  let last = 0
  return await latencyOf(async (n) => {
    const { sequence } = await publisher.publishAsync(pool.at(n))
    if (last > 0 && sequence !== last + 1) throw new Error(`message ${sequence} follows ${last}`)
    last = sequence
  })
}

async function bare({ url, topic }: Args, awaiting: number): Promise<Rate> {
  const connection = await connect({ servers: url.replace('nats://', '').split(',') })
  try {
    const manager = await jetstreamManager(connection)
    const stream = { storage: StorageType.File, retention: RetentionPolicy.Limits, num_replicas: 3 }
    await manager.streams.add({ name: topic, subjects: [topic], ...stream }).catch(() => {})
    const client = jetstream(connection)
    const payload = new Uint8Array(messageBytes).fill(7)
    if (awaiting === 1) return await latencyOf(() => client.publish(topic, payload))
    const begun = performance.now()
    let count = 0
    const run = async () => {
      do {
        await client.publish(topic, payload)
        count++
      } while (performance.now() - begun < mostMs)
    }
    await Promise.all(Array.from({ length: awaiting }, run))
    return { perSecond: (count * 1000) / (performance.now() - begun) }
  } finally {
    await connection.close()
  }
}

/** Publishes one at a time until it is told to stop. Returns the longest time between two acknowledgements, in ms. */
async function gap({ url, topic }: Args, link: Link): Promise<number> {
  await using hermes = await open(url, { replicas: 3 })
  const publisher = await hermes.topic(topic, { codec: Quote }).publisher({ durability: 'replicated' })
  const pool = new QuotePool()
  let isOver = false
  void link.heard().then(() => {
    isOver = true
  })
  let longest = 0
  let last = (await publisher.publishAsync(pool.at(0))).sequence
  link.tell('ready')
  for (let n = 1, before = performance.now(); !isOver; n++) {
    const { sequence } = await publisher.publishAsync(pool.at(n))
    if (sequence !== ++last) throw new Error(`message ${sequence} stands where ${last} should`)
    const now = performance.now()
    longest = Math.max(longest, now - before)
    before = now
  }
  return longest
}

export const roles: Roles = {
  batched,
  single,
  gap,
  bareSingle: (args: Args) => bare(args, 1),
  bareFlight: (args: Args) => bare(args, inFlight),
}

/** Runs a fault while one publishes. Returns the longest time without an acknowledgement, in ms. */
async function during(args: Args, fault: () => Promise<void>): Promise<number> {
  const child = new Child<number>('cluster', 'gap', args)
  await child.heard()
  await sleep(500)
  await fault()
  await sleep(500)
  child.tell('stop')
  return child.result
}

async function leaderOf({ streamsOf }: Scripts, url: string, topic: string): Promise<number> {
  for (;;) {
    const { cluster } = await streamsOf(url, (manager) => manager.streams.info(`HERMES_${topic}`))
    const { leader = '', replicas = [] } = cluster ?? {}
    if (leader !== '' && replicas.every(({ current, offline }) => current && offline !== true))
      return Number(leader.slice(1))
    await sleep(200)
  }
}

type Case = 'batched' | 'bareFlight' | 'single' | 'bareSingle'
const cases: Readonly<Record<Case, string>> = {
  batched: `publishBatch of ${batchMessages.toLocaleString('en-US')}`,
  bareFlight: `bare client, ${inFlight} in flight`,
  single: 'publishAsync, one at a time',
  bareSingle: 'bare client, one at a time',
}

interface Measured {
  readonly interval: string
  readonly rates: Readonly<Record<Case, ReturnType<typeof trialsOf>>>
  readonly latency: { readonly single: Latencies; readonly bareSingle: Latencies }
  readonly gaps: { readonly killed: readonly number[]; readonly stepdown: readonly number[] }
}

async function measure(scripts: Scripts, context: Context, interval: string, elections: number): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-bench-cluster-'))
  let cluster: Servers | undefined
  try {
    cluster = await scripts.startServers({ size: 3, folder, jetstream: `sync_interval: ${interval}` })
    const { url } = cluster
    const found = { batched: [], bareFlight: [], single: [], bareSingle: [] } as Record<Case, Rate[]>
    for (let trial = 1; trial <= context.trials; trial++) {
      for (const name of Object.keys(cases) as Case[]) {
        context.progress(`sync_interval ${interval}: ${cases[name]}, trial ${trial} of ${context.trials}`)
        found[name].push(await runChild<Rate>('cluster', name, { url, topic: `${name}${trial}` } satisfies Args))
      }
    }
    const gaps = { killed: [] as number[], stepdown: [] as number[] }
    const args = { url, topic: 'gaps' }
    if (elections > 0) await during(args, async () => {})
    for (let n = 1; n <= elections; n++) {
      context.progress(`election ${n} of ${elections}`)
      gaps.stepdown.push(await during(args, () => steppedDown(scripts, args)))
      const server = cluster.servers[await leaderOf(scripts, url, args.topic)] as Server
      gaps.killed.push(
        await during(args, async () => {
          await server.kill()
          await sleep(12_000)
          await server.start()
        }),
      )
    }
    const rates = Object.fromEntries(
      Object.entries(found).map(([name, list]) => [name, trialsOf(list.map(({ perSecond }) => perSecond))]),
    ) as Measured['rates']
    const latencyIn = (list: readonly Rate[]) => Latencies.merge(list.map(({ latency = '' }) => latency))
    return {
      interval,
      rates,
      latency: { single: latencyIn(found.single), bareSingle: latencyIn(found.bareSingle) },
      gaps,
    }
  } finally {
    await cluster?.close()
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function steppedDown({ streamsOf }: Scripts, { url, topic }: Args): Promise<void> {
  await streamsOf(url, async () => undefined)
  const connection = await connect({ servers: url.replace('nats://', '').split(',') })
  try {
    await connection.request(`$JS.API.STREAM.LEADER.STEPDOWN.HERMES_${topic}`, '', { timeout: 5000 })
  } finally {
    await connection.close()
  }
  await sleep(3000)
}

export const workload: Workload = {
  name: 'cluster',
  title: 'In a cluster',
  about:
    'Three nats-servers with JetStream on this machine, by loopback, each topic on all three (R3), acknowledged by a quorum; beside the bare client of NATS (@nats-io), which publishes messages of the same size into streams of the same settings, in turns. ' +
    "With the servers' own sync_interval (2m), and with `always`, which survives the loss of power of all of them.",
  async run(context: Context) {
    const scripts = (await load('cluster/servers.mjs')) as Scripts
    const { natsServer, versionOf } = (await load('lib/nats-server.mjs')) as {
      natsServer(): string
      versionOf(program: string): string
    }
    const missing = scripts.natsMissing()
    if (missing !== undefined) return { tables: [], targets: [], notes: [`Left out: ${missing}.`], data: null }
    const version = versionOf(natsServer())
    const usual = await measure(scripts, context, '"2m"', mostElections)
    const always = await measure(scripts, context, 'always', 0)
    const rows = [usual, always].flatMap(({ interval, rates }) =>
      (Object.keys(cases) as Case[]).map((name) => [
        `${cases[name]}, sync_interval ${interval.replaceAll('"', '')}`,
        digits(rates[name].median),
        range(rates[name], digits),
      ]),
    )
    const latencyRows = [usual, always].flatMap(({ interval, latency }) =>
      (['single', 'bareSingle'] as const).map((name) => {
        const { p50, p99, count } = latency[name].summary()
        const title = `${cases[name]}, sync_interval ${interval.replaceAll('"', '')}`
        return [title, duration(p50), duration(p99), count.toLocaleString('en-US')]
      }),
    )
    const { rates, latency, gaps } = usual
    const gain = rates.batched.median / rates.bareFlight.median
    const ratio = latency.single.summary().p50 / latency.bareSingle.summary().p50
    const killed = trialsOf(gaps.killed.map((ms) => ms * 1e6))
    const stepdown = trialsOf(gaps.stepdown.map((ms) => ms * 1e6))
    return {
      tables: [
        { title: 'Messages per second, R3', columns: ['what', 'median', 'range'], rows },
        { title: 'From call to acknowledgement', columns: ['what', 'p50', 'p99', 'samples'], rows: latencyRows },
        {
          title: 'Longest time without an acknowledgement',
          columns: ['what', 'median', 'range'],
          rows: [
            ['the leader is killed', duration(killed.median), range(killed, duration)],
            ['the leader steps down', duration(stepdown.median), range(stepdown, duration)],
          ],
        },
      ],
      targets: [
        {
          what: 'batches, R3',
          target: '≥ 300,000 messages/s',
          measured: digits(rates.batched.median),
          met: rates.batched.median >= 300_000,
        },
        {
          what: `batches, against the bare client with ${inFlight} in flight`,
          target: '≥ 10 times',
          measured: `${digits(gain)} times`,
          met: gain >= 10,
        },
        {
          what: 'one at a time, p50, against the bare client',
          target: '≤ 1.2 times',
          measured: `${digits(ratio)} times`,
          met: ratio <= 1.2,
        },
        {
          what: 'planned step-down',
          target: '≤ 1 s',
          measured: duration(stepdown.median),
          met: stepdown.median <= 1e9,
        },
      ],
      notes: [`nats-server ${version}. An election takes the servers 4 to 9 s, which are a constant of theirs.`],
      data: {
        version,
        settings: [usual, always].map(({ interval, rates, latency, gaps }) => ({
          interval,
          rates,
          gaps,
          latency: { single: latency.single.summary(), bareSingle: latency.bareSingle.summary() },
        })),
      },
    }
  },
}
