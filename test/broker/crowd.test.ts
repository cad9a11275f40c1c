import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { open, text } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { BrokerProcess, pause } from './harness.js'

const attempts = 10_000
/** After so many, all that the broker makes once is made, and it holds as many connections as ever. */
const warmUp = 2000
/** What each one that is refused may leave behind, in bytes: less than any object of its own. */
const mostLeft = 256
/**
 * How much more memory the process may have at any moment. A connection that is held costs some 7 KB of it; the rest, up to some 60 MiB and more on
 * a busy machine, are objects that V8 has not collected yet.
 */
const mostBytes = 256 * 1024 * 1024
/** Under way at once: fewer than what a kernel keeps for a server that has not accepted them. */
const atOnce = 200
/** As the broker has it unless it is told otherwise. */
const maxConnections = 1024

const folder = foldersPerTest()
let broker: BrokerProcess

beforeEach(async () => {
  broker = await BrokerProcess.start(folder())
})

afterEach(() => broker.kill())

/** What the broker's process holds now: memory in bytes, and sockets among its open files. */
function holding(): { readonly bytes: number; readonly files: number } {
  const status = readFileSync(`/proc/${broker.pid}/status`, 'utf8')
  const bytes = Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
  return { bytes, files: readdirSync(`/proc/${broker.pid}/fd`).length }
}

/** What the broker's objects take once V8 has collected the others, in bytes. */
async function kept(): Promise<number> {
  const before = broker.said.length
  process.kill(broker.pid, 'SIGUSR2')
  while (broker.said.length === before) await pause(2)
  return Number(broker.said.at(-1))
}

/** Node takes as many as it may have. */
function openFilesLimit(): number {
  const [, hard] = /^Max open files +\S+ +(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? []
  return hard === 'unlimited' ? Number.POSITIVE_INFINITY : Number(hard)
}

/** Connects and says nothing. Resolves once the connection is there, or was refused. */
function idle(n: number, strangers: Set<Socket>): Promise<void> {
  return new Promise((resolve) => {
    // From many addresses, as a crowd would; one alone has only so many ports.
    const socket = connect({ port: broker.port, host: '127.0.0.1', localAddress: `127.0.0.${2 + (n % 100)}` })
    strangers.add(socket)
    socket.once('connect', () => resolve())
    socket.on('error', () => {})
    socket.resume()
    socket.once('close', () => {
      strangers.delete(socket)
      resolve()
    })
  })
}

it(`holds its limit while ${attempts} idle connections are attempted, and goes on serving those it has`, async ({
  skip,
}) => {
  if (openFilesLimit() < 4096) return skip('this user may have too few open files')
  await using hermes = await open(broker.url)
  const topic = hermes.topic('t', { codec: text, segmentBytes: 1024 * 1024 })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber({ from: 'earliest', wait: 'park' })
  await publisher.publishAsync('before')
  const before = holding()
  const strangers = new Set<Socket>()
  let most = before
  let answered = 0
  let attempted = 0
  let keptBefore = 0
  let over = false
  const serving = (async () => {
    while (!over) {
      await publisher.publishAsync(`message ${answered++}`)
      const now = holding()
      most = { bytes: Math.max(most.bytes, now.bytes), files: Math.max(most.files, now.files) }
      await pause(5)
    }
  })()
  const push = async (upTo: number) => {
    while (attempted < upTo) {
      const n = attempted++
      const answeredBefore = answered
      await idle(n, strangers)
      // Those who are served keep pace with those who push.
      if (n % 1000 === 999) while (answered === answeredBefore) await pause(1)
    }
  }
  for (const upTo of [warmUp, attempts]) {
    await Promise.all(Array.from({ length: atOnce }, () => push(upTo)))
    // They do not say HELLO in time: all of them go.
    const end = performance.now() + 30_000
    while (strangers.size > 0 && performance.now() < end) await pause(20)
    expect(strangers.size).toBe(0)
    // (the last ones are cut off a second later)
    await pause(1500)
    if (upTo === warmUp) keptBefore = await kept()
    else expect((await kept()) - keptBefore).toBeLessThan((attempts - warmUp) * mostLeft)
  }
  over = true
  await serving
  expect(answered).toBeGreaterThan(10)
  expect(most.files - before.files).toBeLessThanOrEqual(maxConnections + atOnce)
  expect(most.bytes - before.bytes).toBeLessThan(mostBytes)
  // One line for each kind of trouble and second, not one for each stranger.
  expect(broker.log).toContain('too-many-connections')
  expect(broker.log.split('\n').length).toBeLessThan(100)
  // Whoever is well-behaved gets in.
  expect(broker.log).toContain('TIMED_OUT')
  await using late = await open(broker.url)
  await (await late.topic('t', { codec: text }).publisher()).publishAsync('after')
  let received = 0
  for await (const { sequence } of subscriber) {
    expect(sequence).toBe(++received)
    if (received === answered + 2) break
  }
}, 120_000)
