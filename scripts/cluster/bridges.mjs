// Rounds with mirrors: bridges that are killed at every step, and two that race.
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { root } from '../lib/run.mjs'
import { steps } from './bridge-steps.mjs'
import { mirrorFaultsOf } from './oracle.mjs'
import { streamsOf } from './servers.mjs'

const endMs = 120_000
const preload = new URL('./bridge-steps.mjs', import.meta.url).href
const crashAddon = join(root, 'build/crash-points/hermes.node')

/** Runs `hermes mirror` once. @param step where it is killed @returns whether it was */
async function bridge(dist, from, to, step) {
  const [name] = (step ?? '').split('@')
  const isNative = step !== undefined && !steps.out.includes(name) && !steps.in.includes(name)
  const env = { ...process.env, HERMES_BRIDGE_DIST: dist }
  if (isNative) Object.assign(env, { HERMES_NATIVE: crashAddon, HERMES_CRASH: step })
  else if (step !== undefined) env.HERMES_BRIDGE_STEP = step
  const args = ['--import', preload, join(dist, 'cli/main.js'), 'mirror', from, to, '--once', '--quiet']
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    said += text
  })
  const timer = setTimeout(() => child.kill('SIGQUIT'), endMs)
  const { code, signal } = await new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  clearTimeout(timer)
  if (signal === 'SIGKILL' && step !== undefined) return true
  if (code === 0) return false
  throw new Error(`hermes mirror ${from} ${to} at step ${step ?? 'none'} ended with ${signal ?? code}: ${said.trim()}`)
}

const numbers = (from, count) => Array.from({ length: count }, (_, n) => from + n)

async function readTo(api, hermes, topic, end, from = 'earliest') {
  const subscriber = await hermes.topic(topic, { codec: api.text }).subscriber({ from, until: 'latest' })
  const read = []
  for await (const { sequence, value } of subscriber) {
    read.push({ sequence, value })
    if (read.length > 2 * end) break
  }
  await subscriber.close()
  return read
}

/** Messages of a topic of this host, synced. */
class Origin {
  sent = 0
  #publisher
  #random

  constructor(publisher, random) {
    this.#publisher = publisher
    this.#random = random
  }

  async publish(count) {
    for (let left = count; left > 0; ) {
      const batch = Math.min(left, 1 + Math.floor(this.#random() * 60))
      this.#publisher.publishBatch(numbers(this.sent, batch).map((n) => `value ${n} ${'x'.repeat(n % 200)}`))
      this.sent += batch
      left -= batch
    }
    await this.#publisher.flush('synced', { timeoutMs: endMs })
  }
}

/** One direction of a mirror: killed at a step, then at another one, then left alone; each time with more to copy. */
async function killTwice({ dist, random, origin, from, to, names, seed, reached }) {
  for (const n of [0, 1]) {
    // The first passage is there for certain; a later one may not be.
    const step = `${names[(seed + n * 3) % names.length]}@${n === 0 ? 1 : 1 + Math.floor(random() * 3)}`
    if (await bridge(dist, from, to, step)) {
      const [name] = step.split('@')
      reached[name] = (reached[name] ?? 0) + 1
    }
    await origin.publish(1 + Math.floor(random() * 300))
  }
}

/** A bridge out and one back, each killed at every step in turn. */
export class BridgeRounds {
  #api
  #dist
  #cluster
  #folder
  #native
  /** How often a bridge was killed at each step. */
  reached = {}

  constructor({ api, testkit, dist, cluster, folder }) {
    this.#api = api
    this.#dist = dist
    this.#cluster = cluster
    this.#folder = folder
    const points = existsSync(crashAddon) ? testkit.crashPoints(crashAddon) : []
    this.#native = points.filter((point) => /^(append|batch|pad|rotate|sync)/.test(point))
  }

  /** @param seed decides, too, which steps it is */
  async round(random, seed) {
    const topic = `orders-${seed}`
    const folder = mkdtempSync(join(this.#folder, 'bridge-'))
    const [here, back] = [join(folder, 'here'), join(folder, 'back')]
    const { url } = this.#cluster
    const local = await this.#api.open(here)
    try {
      const publisher = await local.topic(topic, { codec: this.#api.text }).publisher()
      const origin = new Origin(publisher, random)
      await origin.publish(200 + Math.floor(random() * 600))
      const shared = { dist: this.#dist, random, origin, seed, reached: this.reached }
      const [out, into] = [
        [`${here}/${topic}`, `${url}/${topic}`],
        [`${url}/${topic}`, `${back}/${topic}`],
      ]
      await killTwice({ ...shared, from: out[0], to: out[1], names: steps.out })
      await bridge(this.#dist, ...out)
      await killTwice({ ...shared, from: into[0], to: into[1], names: [...steps.in, ...this.#native] })
      await bridge(this.#dist, ...out)
      await bridge(this.#dist, ...into)
      const original = await readTo(this.#api, local, topic, origin.sent)
      const faults = original.length === origin.sent ? [] : [`the topic has ${original.length} of ${origin.sent}`]
      for (const place of [url, back]) {
        const hermes = await this.#api.open(place)
        const mirrored = await readTo(this.#api, hermes, topic, origin.sent)
        await hermes.close()
        faults.push(...mirrorFaultsOf(original, mirrored, place === url).map((fault) => `${place}: ${fault}`))
      }
      return { faults, messages: origin.sent }
    } finally {
      await local.close()
      rmSync(folder, { recursive: true, force: true })
      await streamsOf(url, (manager) => manager.streams.delete(`HERMES_${topic}`)).catch(() => {})
    }
  }
}

/** Two bridges of one topic at once; in one round of three the stream's leader is killed, in one of three a bridge is. */
export class RaceRounds {
  #api
  #cluster
  #folder
  reached = { outrun: 0, 'leader killed': 0, 'bridge closed': 0 }

  constructor({ api, cluster, folder }) {
    this.#api = api
    this.#cluster = cluster
    this.#folder = folder
  }

  async round(random, seed) {
    const { open, text } = this.#api
    const { url, servers } = this.#cluster
    const topic = `race-${seed}`
    const folder = mkdtempSync(join(this.#folder, 'race-'))
    const opened = [await open(folder), await open(folder), await open(url, { replicas: 3 }), await open(url)]
    const [local, again, there, other] = opened
    try {
      const origin = new Origin(await local.topic(topic, { codec: text }).publisher(), random)
      await origin.publish(100)
      const mirrors = [await local.mirror(topic, there), await again.mirror(topic, other)]
      const extra = []
      const kind = seed % 3
      let isOver = false
      const publishing = (async () => {
        for (const until = performance.now() + 1500; !isOver || performance.now() < until; await sleep(2))
          await origin.publish(1 + Math.floor(random() * 40))
      })()
      try {
        await sleep(200 + random() * 300)
        if (kind === 1) {
          const info = await streamsOf(url, (manager) => manager.streams.info(`HERMES_${topic}`))
          const server = servers[Number(info.cluster.leader.slice(1))]
          await server.kill()
          await sleep(random() * 3000)
          await server.start()
          this.reached['leader killed']++
        } else if (kind === 2) {
          await mirrors[0].close()
          extra.push(await local.mirror(topic, there))
          this.reached['bridge closed']++
        }
      } finally {
        isOver = true
        await publishing
      }
      const all = [...mirrors, ...extra].slice(kind === 2 ? 1 : 0)
      const faults = []
      for (const mirror of all) {
        const failed = mirror.done.then(
          () => new Error('a bridge has ended by itself'),
          (error) => error,
        )
        for (const until = performance.now() + endMs; mirror.status().sequence <= origin.sent; ) {
          const error = await Promise.race([sleep(20), failed])
          if (error !== undefined) throw error
          if (performance.now() > until) throw new Error(`a bridge does not get on: ${JSON.stringify(mirror.status())}`)
        }
      }
      for (const mirror of [...mirrors, ...extra]) this.reached.outrun += mirror.status().outrun
      const original = await readTo(this.#api, local, topic, origin.sent)
      if (original.length !== origin.sent) faults.push(`the topic has ${original.length} of ${origin.sent}`)
      faults.push(...mirrorFaultsOf(original, await readTo(this.#api, there, topic, origin.sent), true))
      for (const mirror of all) await mirror.close()
      return { faults, messages: origin.sent }
    } finally {
      await Promise.all(opened.map((hermes) => hermes.close().catch(() => {})))
      rmSync(folder, { recursive: true, force: true })
      await streamsOf(url, (manager) => manager.streams.delete(`HERMES_${topic}`)).catch(() => {})
    }
  }
}

export const bridgeKinds = {
  bridge: { what: 'a bridge is killed at every step, out and back', make: (given) => new BridgeRounds(given) },
  race: { what: 'two bridges of one topic', make: (given) => new RaceRounds(given) },
}

/** What a build exports: hermes-mq, and hermes-mq/testkit. */
export async function loadBuild(dist) {
  const load = (file) => import(pathToFileURL(join(dist, file)).href)
  return { api: await load('index.js'), testkit: await load('testkit/index.js') }
}
