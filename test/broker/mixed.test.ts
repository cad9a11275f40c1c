import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { open, raw } from '../../lib/index.js'
import { BrokerProcess } from './harness.js'

const rounds = 10
const messages = 1000
const hasPython = spawnSync('python3', ['--version']).status === 0
const publisherProgram = join(import.meta.dirname, 'mixed-publisher.mjs')
const pythonProgram = join(import.meta.dirname, 'mixed_client.py')

/** What a subscriber has seen: a hash over (sequence, payload), and how many of each publisher's messages came in its order. */
interface Seen {
  readonly hash: string
  readonly orders: Readonly<Record<string, number>>
}

/** A program that prints lines. */
class Program {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #reader: Interface

  constructor(command: string, ...args: string[]) {
    this.#child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#reader = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    this.#lines = this.#reader[Symbol.asyncIterator]()
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('the program has ended')
    return value
  }

  say(line: string): void {
    this.#child.stdin?.write(`${line}\n`)
  }

  /** Ends its input and waits for its end. */
  async end(): Promise<unknown> {
    const gone = this.#child.exitCode === null ? once(this.#child, 'exit') : [this.#child.exitCode]
    this.#child.stdin?.end()
    return (await gone)[0]
  }

  kill(): void {
    this.#reader.close()
    this.#child.kill('SIGKILL')
  }
}

/** Reads `count` messages of the topic at `place`. */
async function look(place: string, count: number): Promise<Seen> {
  await using hermes = await open(place)
  const subscriber = await hermes.topic('mixed', { codec: raw }).subscriber({ from: 'earliest' })
  const hash = createHash('sha256')
  const orders: Record<string, number> = {}
  const sequence = Buffer.alloc(8)
  let left = count
  for await (const batch of subscriber.batches(1000)) {
    for (const message of batch) {
      sequence.writeBigUInt64LE(BigInt(message.sequence))
      hash.update(sequence)
      hash.update(message.value)
      const [name = '', number] = Buffer.from(message.value).toString().split(':')
      orders[name] ??= 0
      if (orders[name] === Number(number)) orders[name]++
    }
    left -= batch.length
    if (left <= 0) break
  }
  return { hash: hash.digest('hex'), orders }
}

let dir: string
let broker: BrokerProcess
const programs: Program[] = []

function start(command: string, ...args: string[]): Program {
  const program = new Program(command, ...args)
  programs.push(program)
  return program
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-mixed-'))
  broker = await BrokerProcess.start(dir)
})

afterEach(async () => {
  for (const program of programs) program.kill()
  programs.length = 0
  await broker.kill()
  await rm(dir, { recursive: true, force: true })
})

describe.skipIf(!hasPython)('a process beside the broker, one over TCP and one in Python on one topic', () => {
  it('publish at the same time, and all kinds of subscribers agree on content and order', async () => {
    const names = ['local', 'remote', 'python']
    const total = names.length * rounds * messages
    const python = start('python3', '-B', pythonProgram, 'subscribe', broker.url, String(total))
    const publishers = [
      start(process.execPath, publisherProgram, dir, 'local', String(messages)),
      start(process.execPath, publisherProgram, broker.url, 'remote', String(messages)),
      start('python3', '-B', pythonProgram, 'publish', broker.url, 'python', String(messages)),
    ]
    for (const program of [python, ...publishers]) expect(await program.line()).toBe('ready')
    const local = look(dir, total)
    const remote = look(broker.url, total)
    // In rounds, so that none is done before another has begun.
    for (let round = 1; round <= rounds; round++) {
      for (const publisher of publishers) publisher.say('go')
      for (const publisher of publishers) expect(await publisher.line()).toBe(String(round))
    }
    for (const publisher of publishers) expect(await publisher.end()).toBe(0)
    const seen = [await local, await remote, JSON.parse(await python.line()) as Seen]
    expect(await python.end()).toBe(0)
    for (const { orders } of seen) {
      expect(orders).toEqual(Object.fromEntries(names.map((name) => [name, rounds * messages])))
    }
    expect(new Set(seen.map(({ hash }) => hash)).size).toBe(1)
    // Nobody was late: whoever reads it all again sees the same.
    expect(await look(dir, total)).toEqual(seen[0])
  }, 120_000)
})
