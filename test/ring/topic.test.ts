import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { type Hermes, json, type MessageView, open, raw, struct, u32, varBytes } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { removeFolder } from '../helpers/folder.js'
import { drain, numbers, pause, publishMany, same } from '../helpers/receive.js'

const count = json<number>()
const Pair = struct({ n: u32, twice: u32 })
const capacity = 65_536

function placeName(): string {
  const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
  onTestFinished(() => removeFolder(`/dev/shm/hermes.rings-${name}`))
  return `ring:${name}`
}

async function openPlace(place = placeName()): Promise<Hermes> {
  const hermes = await open(place)
  onTestFinished(() => hermes.close())
  return hermes
}

async function start(task: string, options: object): Promise<ChildProcess> {
  const program = join(import.meta.dirname, 'topic-program.mjs')
  const args = [program, JSON.stringify({ task, topic: 'pairs', ...options })]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const ended = once(child, 'exit').then(([code]) => `it ended with ${code}`)
  const said = once(child.stdout!, 'data').then(([text]) => String(text))
  expect(await Promise.race([said, ended])).toBe('ready\n')
  return child
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

test('answers false before it is full, refuses when it is, and goes on when there is room', async () => {
  const hermes = await openPlace()
  const topic = hermes.topic('bytes', { codec: raw, segmentBytes: capacity, maxPayloadBytes: 1000 })
  const publisher = await topic.publisher()
  let accepted = 1
  while (publisher.publish(new Uint8Array(100))) accepted++
  // The one that was answered with false was accepted too.
  expect((await topic.info()).nextSequence).toBe(accepted + 1)
  const waiting = publisher.ready()
  const refused = failure('BACK_PRESSURE', () => {
    for (;;) {
      publisher.publish(new Uint8Array(100))
      accepted++
    }
  })
  expect((await refused).details).toMatchObject({ topic: 'bytes', capacity })
  expect(accepted * 136).toBeGreaterThan(capacity - 3000)
  await failure('BACK_PRESSURE', () => publisher.publishAsync(new Uint8Array(100)))
  const error = await failure('BACK_PRESSURE', () =>
    publisher.publishBatch(numbers(0, 300).map(() => new Uint8Array(100))),
  )
  expect(error.details.accepted).toBe(0)
  expect(publisher.lastSequence).toBe(accepted)
  const subscriber = await topic.subscriber()
  const seen = drain(subscriber, (view) => view.length)
  expect(seen.map((one) => one.sequence)).toEqual(numbers(1, accepted))
  await waiting
  expect(publisher.publish(new Uint8Array(100))).toBe(true)
  expect(drain(subscriber, (view) => view.length)).toEqual([{ value: 100, sequence: accepted + 1 }])
})

test('gives the place of a message back as soon as its poll is over', async () => {
  const hermes = await openPlace()
  const topic = hermes.topic('bytes', { codec: raw, segmentBytes: capacity, maxPayloadBytes: 1000 })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber()
  while (publisher.publish(new Uint8Array(1000)));
  const { usedBytes } = (await topic.info()).ring!
  expect(usedBytes).toBeGreaterThan(capacity / 2)
  subscriber.poll(() => {}, 1)
  expect((await topic.info()).ring!.usedBytes).toBe(usedBytes - 1032)
  for await (const batch of subscriber.batches(2)) {
    expect(batch).toHaveLength(2)
    break
  }
  expect((await topic.info()).ring!.usedBytes).toBe(usedBytes - 3 * 1032)
})

test('drops new messages if that was asked for, and counts them', async () => {
  const hermes = await openPlace()
  const topic = hermes.topic('bytes', { codec: raw, segmentBytes: capacity, maxPayloadBytes: 1000 })
  const publisher = await topic.publisher({ overflow: 'drop-newest' })
  const answers = numbers(0, 200).map((n) => publisher.publish(new Uint8Array(1000).fill(n)))
  const accepted = publisher.lastSequence
  // False says that it was dropped, and nothing else.
  expect(answers).toEqual(numbers(0, 200).map((n) => n < accepted))
  expect(accepted).toBeGreaterThan(60)
  expect(accepted).toBeLessThan(64)
  expect((await topic.info()).ring).toMatchObject({ droppedNewest: 200 - accepted, droppedOldest: 0 })
  await failure('BACK_PRESSURE', () => publisher.publishAsync(new Uint8Array(1000)))
  expect(publisher.publishBatch(numbers(0, 10).map(() => new Uint8Array(1000)))).toBe(false)
  expect((await topic.info()).ring!.droppedNewest).toBe(211 - accepted)
  const subscriber = await topic.subscriber()
  // What is there is dense: the dropped ones never got a sequence.
  expect(drain(subscriber, (view) => view[999])).toEqual(
    numbers(0, accepted).map((n) => ({ value: n, sequence: n + 1 })),
  )
  expect(await publisher.publishAsync(new Uint8Array(1000))).toMatchObject({ sequence: accepted + 1 })
})

test('refuses what a ring can not do, and says why', async () => {
  const hermes = await openPlace()
  const topic = hermes.topic('counts', { codec: count, segmentBytes: capacity })
  const publisher = await topic.publisher()
  await publishMany(publisher, 0, 10)
  const subscriber = await topic.subscriber()
  subscriber.poll(() => {}, 4)
  const refusals: [string, () => unknown][] = [
    ['UNSUPPORTED', () => subscriber.seek('earliest')],
    ['UNSUPPORTED', () => subscriber.seek(7)],
    ['UNSUPPORTED', () => publisher.flush('synced')],
    ['EXCLUSIVE_HELD', () => topic.publisher()],
    ['EXCLUSIVE_HELD', () => topic.publisher({ exclusive: true })],
    ['EXCLUSIVE_HELD', () => topic.subscriber()],
    ['UNSUPPORTED', () => topic.publisher({ durability: 'synced' })],
    ['UNSUPPORTED', () => topic.publisher({ overflow: 'drop-oldest' })],
    ['INVALID_ARGUMENT', () => topic.publisher({ overflow: 'drop' as never })],
    ['UNSUPPORTED', () => hermes.topic('x', { codec: count, retention: { bytes: 1 } }).publisher()],
    ['UNSUPPORTED', () => hermes.topic('x', { codec: count, lowWaterBytes: 1 }).subscriber()],
    ['INVALID_ARGUMENT', () => hermes.topic('x', { codec: count, segmentBytes: 3 * capacity }).publisher()],
    ['CONFIG_MISMATCH', () => hermes.topic('counts', { codec: count, segmentBytes: 2 * capacity }).publisher()],
    ['CODEC_MISMATCH', () => hermes.topic('counts', { codec: raw }).subscriber()],
  ]
  for (const [code, use] of refusals) await failure(code as 'UNSUPPORTED', use)
  await subscriber.close()
  for (const from of [1, 4, new Date()]) {
    const error = await failure('UNSUPPORTED', () => topic.subscriber({ from }))
    if (typeof from === 'number')
      expect(error.details).toMatchObject({ sequence: from, firstSequence: 5, nextSequence: 11 })
  }
  await failure('OUT_OF_RANGE', () => topic.subscriber({ from: 12 }))
  // None of the refused left anything held.
  await using again = await topic.subscriber({ from: 7 })
  expect(drain(again, same).map((one) => one.value)).toEqual([6, 7, 8, 9])
  expect(await hermes.topics()).toEqual(['counts'])
})

test('refuses an overflow where topics are logs', async () => {
  const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
  await using hermes = await open(`shm:${name}`)
  onTestFinished(() => removeFolder(`/dev/shm/hermes-${name}`))
  await failure('UNSUPPORTED', () => hermes.topic('counts').publisher({ overflow: 'drop-newest' }))
  await (await hermes.topic('counts', { segmentBytes: capacity }).publisher({ overflow: 'block' })).close()
})

test('keeps rings and logs apart', async () => {
  const place = placeName()
  await openPlace(place)
  await failure('NOT_HERMES', () => open(`/dev/shm/hermes.rings-${place.slice('ring:'.length)}`))
  await failure('NOT_FOUND', () => open(placeName(), { create: false }))
  for (const bad of ['ring:', 'ring:../x', 'ring:a/b']) await failure('INVALID_NAME', () => open(bad))
})

test('keeps what waits for a subscriber that comes later, unless that wants the latest', async () => {
  const hermes = await openPlace()
  const topic = hermes.topic('counts', { codec: count, segmentBytes: capacity })
  const publisher = await topic.publisher()
  await publishMany(publisher, 0, 5)
  const first = await topic.subscriber()
  expect(first.lag).toBe(5)
  expect(first.poll(() => {}, 2)).toBe(2)
  await first.close()
  const second = await topic.subscriber()
  expect([second.position, second.lag]).toEqual([3, 3])
  await second.close()
  const latest = await topic.subscriber({ from: 'latest' })
  expect([latest.position, latest.lag]).toEqual([6, 0])
  publisher.publish(5)
  expect(drain(latest, same)).toEqual([{ value: 5, sequence: 6 }])
})

test('goes on numbering with the next publisher, whatever was consumed', async () => {
  const place = placeName()
  const hermes = await openPlace(place)
  const topic = hermes.topic('counts', { codec: count, segmentBytes: capacity })
  const subscriber = await topic.subscriber()
  let expected = 1
  for (const many of [0, 1, 2, 3, 0, 7]) {
    const publisher = await topic.publisher()
    await publishMany(publisher, expected, many)
    await publisher.close()
    if (many % 2 === 1) {
      for (const one of drain(subscriber, same)) expect(one.sequence).toBe(one.value)
    }
    expected += many
    expect((await topic.info()).nextSequence).toBe(expected)
  }
})

test('keeps frames of every size whole across many laps', async () => {
  const hermes = await openPlace()
  const Framed = struct({ n: u32, rest: varBytes() })
  const topic = hermes.topic('framed', { codec: Framed, segmentBytes: capacity, maxPayloadBytes: 16_384 })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber()
  let state = 12_345
  const next = () => (state = (state * 48_271) % 2_147_483_647)
  const sizes: number[] = []
  let sent = 0
  let seen = 0
  const check = ({ n, rest }: { n: number; rest: Uint8Array }, { sequence }: MessageView) => {
    const right =
      n === seen && sequence === seen + 1 && rest.length === sizes[seen] && rest.every((byte) => byte === (n & 255))
    if (!right) throw new Error(`message ${sequence} is not what was published`)
    seen++
  }
  while (sent < 20_000) {
    const group = numbers(sent, 1 + (next() % 4)).map((n) => {
      sizes.push(next() % 8 === 0 ? next() % 4000 : next() % 300)
      return { n, rest: new Uint8Array(sizes[n]!).fill(n) }
    })
    const roomy = group.length === 1 ? publisher.publish(group[0]!) : publisher.publishBatch(group)
    sent += group.length
    if (!roomy) {
      while (subscriber.poll(check, 1 + (next() % 50)) > 0);
      await publisher.ready()
    }
  }
  while (subscriber.poll(check) > 0);
  expect(seen).toBe(sent)
  // Several dozen laps.
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeGreaterThan(50 * capacity)
})

test('writes over nothing that waits, however full it is', async () => {
  const hermes = await openPlace()
  const Framed = struct({ n: u32, rest: varBytes() })
  const topic = hermes.topic('framed', { codec: Framed, segmentBytes: capacity, maxPayloadBytes: 5100 })
  const publisher = await topic.publisher()
  const subscriber = await topic.subscriber()
  let state = 4711
  const next = () => (state = (state * 48_271) % 2_147_483_647)
  const value = (n: number) => ({ n, rest: new Uint8Array((n * 7919) % 5000).fill(n) })
  let sent = 0
  let seen = 0
  const check = ({ n, rest }: { n: number; rest: Uint8Array }) => {
    const right = n === seen && rest.length === (n * 7919) % 5000 && rest.every((byte) => byte === (n & 255))
    if (!right) throw new Error(`message ${seen} is not what was published`)
    seen++
  }
  while (sent < 5000) {
    const refused = await failure('BACK_PRESSURE', () => {
      for (;;) {
        const many = 1 + (next() % 3)
        if (many === 1) publisher.publish(value(sent))
        else publisher.publishBatch(numbers(sent, many).map(value))
        sent += many
      }
    })
    sent += Number(refused.details.accepted ?? 0)
    subscriber.poll(check, 1 + (next() % 20))
  }
  while (subscriber.poll(check) > 0);
  expect(seen).toBe(sent)
}, 60_000)

test('keeps content and order from one process to another that waits in every way', async () => {
  const place = placeName()
  const hermes = await openPlace(place)
  let from = 0
  for (const wait of ['spin', 'yield', 'park', 'adaptive'] as const) {
    await using subscriber = await hermes.topic('pairs', { codec: Pair, segmentBytes: capacity }).subscriber({ wait })
    const many = 20_000
    await start('publish', { place, count: many, from })
    let next = from
    for await (const batch of subscriber.batches()) {
      for (const { value, sequence } of batch) {
        if (value.n !== next || value.twice !== 2 * next || sequence !== next + 1) throw new Error(`wrong at ${next}`)
        next++
      }
      if (next === from + many) break
    }
    from += many
  }
}, 60_000)

test('delivers what a killed publisher had published, tells of its death once, and goes on with a successor', async () => {
  const place = placeName()
  const hermes = await openPlace(place)
  const subscriber = await hermes.topic('pairs', { codec: Pair, segmentBytes: capacity }).subscriber({ wait: 'park' })
  const values = (received: { value: { n: number }; sequence: number }[]) =>
    received.map((one) => [one.value.n, one.sequence])
  const victim = await start('publish and stay', { place, count: 10 })
  const waiting = (async () => {
    const seen: { value: { n: number }; sequence: number }[] = []
    for await (const message of subscriber) {
      seen.push({ value: message.value, sequence: message.sequence })
      if (seen.length === 10) setTimeout(() => victim.kill('SIGKILL'), 50)
    }
    return seen
  })()
  const error = await failure('PEER_DEAD', () => waiting)
  expect(error.details).toMatchObject({ topic: 'pairs' })
  expect(subscriber.position).toBe(11)
  // Told once: now it waits for the successor.
  expect(subscriber.poll(() => {})).toBe(0)
  await start('publish', { place, count: 5, from: 10 })
  await subscriber.ready()
  await pause(20)
  expect(values(drain(subscriber, (view) => view.toObject()))).toEqual(numbers(10, 5).map((n) => [n, n + 1]))
})

test('loses, doubles and reorders nothing when publishers are killed at any moment', async () => {
  const place = placeName()
  const hermes = await openPlace(place)
  const subscriber = await hermes.topic('pairs', { codec: Pair, segmentBytes: capacity }).subscriber()
  let last = 0
  let inRound = -1
  const check = ({ n, twice }: { n: number; twice: number }, { sequence }: MessageView) => {
    // Sequences are dense over all publishers, and each publisher's numbers dense from 0.
    if (sequence !== last + 1 || twice !== 2 * n || (n !== inRound + 1 && n !== 0))
      throw new Error(`wrong at ${sequence}`)
    last = sequence
    inRound = n
  }
  for (let round = 0; round < 8; round++) {
    const victim = await start('publish for ever', { place })
    const until = performance.now() + 30 + round * 7
    while (performance.now() < until) subscriber.poll(check)
    await kill(victim)
    await failure('PEER_DEAD', async () => {
      for (;;) if (subscriber.poll(check) === 0) await subscriber.ready()
    })
  }
  expect(last).toBeGreaterThan(1000)
}, 60_000)

test('tells a publisher with a full ring that the subscriber was killed, and a successor begins with what is left', async () => {
  const place = placeName()
  const hermes = await openPlace(place)
  const topic = hermes.topic('pairs', { codec: Pair, segmentBytes: capacity })
  const publisher = await topic.publisher()
  const pair = (n: number) => ({ n, twice: 2 * n })
  publisher.publishBatch(numbers(0, 10).map(pair))
  const victim = await start('consume and stay', { place, count: 10 })
  expect((await topic.info()).ring!.subscribers).toBe(1)
  let n = 10
  while (publisher.publish(pair(n))) n++
  const waiting = failure('PEER_DEAD', () => publisher.ready())
  await pause(50)
  await kill(victim)
  await waiting
  await failure('PEER_DEAD', () => {
    for (;;) publisher.publish(pair(++n))
  })
  expect((await topic.info()).ring!.subscribers).toBe(0)
  const ready = publisher.ready()
  const successor = await topic.subscriber()
  const received = drain(successor, (view) => view.n)
  expect(received[0]).toEqual({ value: 10, sequence: 11 })
  expect(received.map((one) => one.value)).toEqual(numbers(10, received.length))
  await ready
  expect(publisher.publish(pair(0))).toBe(true)
})

test('gives out no memory of the ring, and errors for views that were kept beyond close', async () => {
  const hermes = await openPlace()
  const Parts = struct({ n: u32, rest: varBytes() })
  const topic = hermes.topic('parts', { codec: Parts, segmentBytes: capacity })
  const publisher = await topic.publisher()
  publisher.publishBatch(numbers(1, 50).map((n) => ({ n, rest: new Uint8Array(n).fill(n) })))
  const subscriber = await topic.subscriber()
  const kept: { n: number }[] = []
  const seen: number[] = []
  subscriber.poll((view, message) => {
    kept.push(view)
    const { rest } = view
    expect(rest.buffer.byteLength).toBeLessThan(capacity)
    rest.fill(0xee)
    structuredClone(rest.buffer, { transfer: [rest.buffer as ArrayBuffer] })
    message.copyPayload().fill(0xdd)
    seen.push(
      view.n,
      view.rest.reduce((sum, byte) => sum + byte, 0),
    )
  })
  expect(seen).toEqual(numbers(1, 50).flatMap((n) => [n, n * n]))
  await subscriber.close()
  await failure('CLOSED', () => kept[0]?.n)
  const bytes = hermes.topic('bytes', { codec: raw, segmentBytes: capacity })
  const rawPublisher = await bytes.publisher()
  rawPublisher.publish(new Uint8Array(10))
  const rawSubscriber = await bytes.subscriber()
  rawSubscriber.poll((view) => expect(view.buffer.byteLength).toBeLessThan(capacity))
})
