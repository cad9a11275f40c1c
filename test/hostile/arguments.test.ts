import { closeSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as h from '../../lib/index.js'
import * as mmap from '../../lib/mmap.js'
import * as kit from '../../lib/testkit/index.js'
import type { Random } from '../../lib/testkit/random.js'
import { foldersPerTest } from '../helpers/folder.js'
import { attempt, codeOf, same, Thrown } from './judge.js'
import { run, timeout } from './run.js'
import { hostile, liar, revoked, type Scene } from './values.js'

const folder = foldersPerTest()

function sceneOf(random: Random): Scene {
  return { random, thrown: new Thrown(), act: () => {} }
}

type Call = (a: never, b: never, c: never) => unknown

/** Each takes up to three arguments of any kind. What it makes is closed. */
const calls: Record<string, Call> = {
  struct: (fields, options) => h.struct(fields, options),
  'struct of a field': (field, name) => h.struct({ a: field }, { name }),
  structFromSchema: (schema) => h.structFromSchema(schema),
  'structFromSchema of fields': (fields) => h.structFromSchema({ ...h.struct({ a: h.u8 }).schema, fields } as never),
  array: (type, count) => h.array(type, count),
  'array of u8': (count) => h.array(h.u8, count),
  varArray: (type) => h.varArray(type),
  ascii: (size) => h.ascii(size),
  bytes: (size) => h.bytes(size),
  enumeration: (labels) => h.enumeration(labels),
  'enumeration of a label': (label) => h.enumeration([label]),
  custom: (options) => h.custom(options),
  'custom with': (name, fingerprint, encode) => h.custom({ name, fingerprint, encode, decode: encode }),
  validated: (codec, schema, options) => h.validated(codec, schema, options),
  'validated json': (schema, options) => h.validated(h.json, schema, options),
  'validated, result': (result) =>
    h
      .validated(h.json, { '~standard': { version: 1, vendor: 'x', validate: () => result } } as never)
      .encode(1 as never, region(), 0, 99),
  'validated, issues': (issues) =>
    h
      .validated(h.json, { '~standard': { version: 1, vendor: 'x', validate: () => ({ issues }) } } as never)
      .encode(1 as never, region(), 0, 99),
  Encoder: (codec, options) => new h.Encoder(codec, options),
  'Encoder with': (capacity, maxPayload, sequence) => {
    const most = typeof capacity === 'number' && capacity > 1e6 ? 1e6 : capacity
    return new h.Encoder(h.json, { capacity: most, maxPayload, sequence })
  },
  'Encoder, timestamp': (timestamp) =>
    typeof timestamp === 'function' ? undefined : new h.Encoder(h.json, { timestamp }).encode(1),
  'Encoder.reset': (sequence) => new h.Encoder(h.json).reset(sequence),
  Decoder: (codec, options) => new h.Decoder(codec, options),
  'Decoder.decode': (bytes, handler) => new h.Decoder(h.raw).decode(bytes, handler),
  'Decoder.messages': (bytes) => [...new h.Decoder(h.raw).messages(bytes)],
  crc32: (bytes, seed) => h.crc32(bytes, seed),
  'SpscRing.create': (options) => h.SpscRing.create(options).close(),
  'SpscRing.create with': (itemBytes, role, startIndex) =>
    h.SpscRing.create({ capacity: 8, itemBytes: small(itemBytes), role, startIndex }).close(),
  'SpscRing.attach': (handle, options) => h.SpscRing.attach(handle, options).close(),
  'SpscByteRing.create': (options) => h.SpscByteRing.create(options).close(),
  'SpscByteRing.create with': (codec, role, parking) =>
    h.SpscByteRing.create({ capacity: 64, codec, role, parking }).close(),
  'SpscByteRing.attach': (handle, options) => h.SpscByteRing.attach(handle, options).close(),
  'SpscByteRing.claim': (length) => h.SpscByteRing.create({ capacity: 64, role: 'producer' }).claim(length),
  'SpscByteRing.commit': (length, label) => {
    const ring = h.SpscByteRing.create({ capacity: 64, role: 'producer' })
    ring.claim(8)
    ring.commit(length, label)
  },
  'MpmcRing.create': (options) => h.MpmcRing.create(options).close(),
  'MpmcRing.create with': (participants, itemBytes, name) =>
    typeof name === 'string'
      ? undefined
      : h.MpmcRing.create({ capacity: 8, participants, itemBytes: small(itemBytes), name }).close(),
  'MpmcRing.attach': (handle, options) => h.MpmcRing.attach(handle, options).close(),
  removeRing: (name) => h.removeRing(name),
  open: (place, options) => (typeof place === 'string' ? undefined : h.open(place, options)),
  'open with': (create, mode) => h.open('/proc/none', { create, mode }),
  'open tcp': (token, tls, connectTimeoutMs) =>
    h.open('tcp://127.0.0.1:1', {
      token,
      tls,
      connectTimeoutMs: typeof connectTimeoutMs === 'number' ? 100 : connectTimeoutMs,
      reconnect: false,
    } as never),
  'kit.flipBit': (offset, bit) => kit.flipBit(file(), offset, bit),
  'kit.overwrite': (offset, bytes) =>
    kit.overwrite(file(), typeof offset === 'number' && offset > 1e6 ? (0 as never) : offset, bytes),
  'kit.zeroPage': (page, pageBytes) =>
    kit.zeroPage(
      file(),
      typeof page === 'number' && page > 100 ? (0 as never) : page,
      typeof pageBytes === 'number' && pageBytes > 1e6 ? (1 as never) : pageBytes,
    ),
  'kit.truncate': (bytes) => kit.truncate(file(), typeof bytes === 'number' && bytes > 1e6 ? (0 as never) : bytes),
  'kit.fakeClaim': (slot, count, span) => kit.fakeClaim(file(), 0, slot, count, span),
  'kit, file': (name: unknown) =>
    typeof name === 'string' && name.length > 0 && !name.includes('\0') ? undefined : kit.flipBit(name as string, 0),
  'kit.Random': (seed, limit, choices) => {
    const random = new kit.Random(seed)
    random.below(limit)
    random.pick(choices)
  },
  'kit.makePayload': (writer, number, bytes) =>
    kit.makePayload({ writer, number }, typeof bytes === 'number' && bytes > 1e6 ? (16 as never) : bytes),
  'kit.readPayload': (payload) => kit.readPayload(payload),
  'kit.Oracle': (writer, number, level) => {
    const oracle = new kit.Oracle()
    oracle.attempt(writer, number)
    oracle.acknowledge({ writer, number }, level)
  },
  'kit.Oracle.check': (reading) => new kit.Oracle().check(reading),
  'kit.Oracle.check of': (seen, voids, level) =>
    new kit.Oracle().check({ seen, voids, firstSequence: 1, nextSequence: 1, level }),
  'kit.PowerLossSimulator': (place) => (typeof place === 'string' ? undefined : new kit.PowerLossSimulator(place)),
  'mmap.map': (size, protection, flags) => mmap.map(size, protection, flags, mapped().fd),
  'mmap.map at': (fd, offset, advice) =>
    mmap.map(
      4096,
      mmap.PROT_READ,
      mmap.MAP_SHARED,
      typeof fd === 'number' ? (mapped().fd as never) : fd,
      offset,
      advice,
    ),
  'mmap.unmap': (buffer) => mmap.unmap(buffer),
  'mmap.advise': (buffer, advice) => mmap.advise(buffer, advice),
  'mmap.advise in': (offset, length, advice) => mmap.advise(mapped().buffer, offset, length, advice),
  'mmap.incore': (buffer) => mmap.incore(buffer),
  'mmap.sync': (offset, size, blocking) => mmap.sync(mapped().buffer, offset, size, blocking),
}

let path = ''
let open: { fd: number; buffer: Buffer } | undefined

function file(): string {
  return path
}

function mapped(): { fd: number; buffer: Buffer } {
  if (open === undefined) throw new Error('not open')
  return open
}

function region() {
  const bytes = new Uint8Array(100)
  return { bytes, data: new DataView(bytes.buffer) }
}

/** A large ring takes long, and is not what is looked for. */
function small(value: unknown): number {
  return (typeof value === 'number' && value > 1000 ? 8 : value) as number
}

describe('arguments of any kind are taken, or refused with a code', () => {
  test.each(Object.keys(calls))('%s', { timeout }, async (name) => {
    path = join(folder(), 'file')
    writeFileSync(path, Buffer.alloc(8192, 7))
    const fd = openSync(path, 'r+')
    open = { fd, buffer: mmap.map(8192, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd) }
    const call = calls[name] as (...args: unknown[]) => unknown
    try {
      await run(name, 150, async (random, counts) => {
        const scene = sceneOf(random)
        const result = attempt(name, scene.thrown, () => call(hostile(scene), hostile(scene), hostile(scene)))
        if ('code' in result) {
          counts.refused++
          return
        }
        counts.accepted++
        // (a call that is asynchronous; a value of a codec may be a promise by itself)
        if (!name.startsWith('open')) return
        try {
          await ((await result.value) as { close(): Promise<void> } | undefined)?.close()
        } catch (error) {
          codeOf(error, name, scene.thrown)
        }
      })
    } finally {
      mmap.unmap(open.buffer)
      closeSync(fd)
      open = undefined
    }
  })
})

describe('methods of publishers, subscribers and places', () => {
  test.each(['directory', 'ring'] as const)('%s', { timeout }, async (kind) => {
    const hermes = await h.open(kind === 'ring' ? `ring:arguments-${process.pid}` : folder())
    const topic = hermes.topic('t', { codec: h.json, segmentBytes: 65_536, maxPayloadBytes: 1024 })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const methods: Record<string, Call> = {
      topic: (name, options) => hermes.topic(name, options),
      'topic with': (codec, segmentBytes, retention) => hermes.topic('x', { codec, segmentBytes, retention }),
      publisher: (options) => topic.publisher(options).then((one) => one.close()),
      'publisher with': (durability, exclusive, signal) =>
        topic.publisher({ durability, exclusive, signal }).then((one) => one.close()),
      subscriber: (options) => topic.subscriber(options).then((one) => one.close()),
      'subscriber with': (from, wait, signal) => topic.subscriber({ from, wait, signal }).then((one) => one.close()),
      'subscriber and': (onDamage, onAbort, onError) =>
        topic.subscriber({ onDamage, onAbort, onError }).then((one) => one.close()),
      info: (name, options) => hermes.info(name, options),
      topics: (options) => hermes.topics(options),
      verify: (name, options) => hermes.verify(name, options),
      repair: (name, options) => hermes.repair(name, options),
      backup: (to, options) => (typeof to === 'string' && to !== '' ? undefined : hermes.backup(to, options)),
      waitUntilExists: (options) => topic.waitUntilExists(options),
      publishAsync: (value, options) => publisher.publishAsync(value, options),
      ready: (options) => publisher.ready(options),
      flush: (durability, options) => publisher.flush(durability, options),
      'subscriber.ready': (signal, timeoutMs) =>
        subscriber.ready({
          signal,
          timeoutMs: typeof timeoutMs === 'number' || timeoutMs === undefined ? 1 : timeoutMs,
        } as never),
      seek: (target) => subscriber.seek(target),
      'poll limit': (limit) => subscriber.poll(() => {}, limit),
      'poll handler': (handler) => (typeof handler === 'function' ? undefined : subscriber.poll(handler)),
      batches: (max) => (max === undefined || typeof max === 'number' ? undefined : subscriber.batches(max).next()),
    }
    try {
      for (const [name, method] of Object.entries(methods)) {
        await run(`${kind}.${name}`, 60, async (random, counts) => {
          const scene = sceneOf(random)
          try {
            await (method as (...args: unknown[]) => unknown)(hostile(scene), hostile(scene), hostile(scene))
            counts.accepted++
          } catch (error) {
            codeOf(error, name, scene.thrown)
            counts.refused++
          }
        })
      }
      // And it goes on.
      if (kind === 'directory') subscriber.seek('latest')
      else subscriber.poll(() => {}, 65_535)
      publisher.publish({ good: 1 })
      const seen: unknown[] = []
      subscriber.poll((value) => seen.push(value))
      expect(seen).toEqual([{ good: 1 }])
    } finally {
      await hermes.close()
      if (kind === 'ring')
        await import('node:fs').then(({ rmSync }) =>
          rmSync(`/dev/shm/hermes.rings-arguments-${process.pid}`, { recursive: true, force: true }),
        )
    }
  })
})

describe('what was found', () => {
  test('the bytes of a struct are those that are there, whatever a subclass says', () => {
    const Item = h.struct({ n: h.u32, b: h.bytes(64) })
    const producer = h.SpscRing.create({ capacity: 4, codec: Item, role: 'producer' })
    const consumer = h.SpscRing.attach(producer.handle, { codec: Item, role: 'consumer' })
    for (let n = 0; n < 3; n++) producer.tryPush({ n, b: new Uint8Array(64).fill(n) })
    // Says that it has 64 bytes, and has 256: they went over the next items.
    expect(
      codeOf(
        thrownBy(() => producer.tryPush({ n: 9, b: liar(256, 64) })),
        'push',
        new Thrown(),
      ),
    ).toBe('ENCODE_FAILED')
    expect(producer.tryPush({ n: 3, b: liar(64, 256) })).toBe(true)
    same(
      'items',
      consumer.popBatch().map(({ n, b }) => [n, b[0], b[63]]),
      [
        [0, 0, 0],
        [1, 1, 1],
        [2, 2, 2],
        [3, 0xee, 0xee],
      ],
    )
    const Rest = h.struct({ n: h.u8, rest: h.varBytes() })
    const { bytes, data } = region()
    same('length', Rest.encode({ n: 1, rest: liar(40, 10) }, { bytes, data }, 0, 60), 41)
    expect(
      codeOf(
        thrownBy(() => Rest.encode({ n: 1, rest: liar(80, 10) }, { bytes, data }, 0, 60)),
        'encode',
        new Thrown(),
      ),
    ).toBe('PAYLOAD_TOO_LARGE')
    const packed = region()
    const length = h.msgpack.encode(liar(40, 10), packed, 0, 100)
    same('msgpack', h.msgpack.decode(packed, 0, length), new Uint8Array(40).fill(0xee))
  })

  test('a label is a number: one that becomes a number pushed within the push', () => {
    const producer = h.SpscByteRing.create({ capacity: 1024, codec: h.text, role: 'producer' })
    const consumer = h.SpscByteRing.attach(producer.handle, { codec: h.text, role: 'consumer' })
    const label = { valueOf: () => (producer.tryPush('inner') ? 1 : 2) }
    for (const wrong of [label, 1n, Symbol('s'), -1, 1.5, 2 ** 32, Number.NaN, '7', null, revoked()]) {
      expect(
        codeOf(
          thrownBy(() => producer.tryPush('outer', wrong as never)),
          'push',
          new Thrown(),
        ),
      ).toBe('INVALID_ARGUMENT')
    }
    expect(producer.tryPush('last', 2 ** 32 - 1)).toBe(true)
    const seen: unknown[] = []
    consumer.poll((value, number) => seen.push([value, number]))
    expect(seen).toEqual([['last', 2 ** 32 - 1]])
  })

  test('a damage of the test kit goes where it was told to', () => {
    const path = join(folder(), 'file')
    writeFileSync(path, Buffer.alloc(16, 7))
    // -1 is the current place for the system's calls: byte 0 was changed.
    for (const offset of [-1, 1.5, Number.NaN]) {
      expect(
        codeOf(
          thrownBy(() => kit.flipBit(path, offset)),
          'flipBit',
          new Thrown(),
        ),
      ).toBe('INVALID_ARGUMENT')
      expect(
        codeOf(
          thrownBy(() => kit.overwrite(path, offset, Buffer.from('x'))),
          'overwrite',
          new Thrown(),
        ),
      ).toBe('INVALID_ARGUMENT')
      expect(
        codeOf(
          thrownBy(() => kit.truncate(path, offset)),
          'truncate',
          new Thrown(),
        ),
      ).toBe('INVALID_ARGUMENT')
    }
    same('file', kit.flipBit(path, 3).offset, 3)
  })

  test('a view of mapped memory is where it is, whatever it says', () => {
    const path = join(folder(), 'file')
    writeFileSync(path, Buffer.alloc(8192, 7))
    const fd = openSync(path, 'r+')
    const buffer = mmap.map(8192, mmap.PROT_READ, mmap.MAP_PRIVATE, fd)
    buffer.fill(9)
    const second = new Uint8Array(buffer.buffer, 4096, 4096)
    Object.defineProperty(second, 'byteOffset', { value: Number.NaN })
    // What was written privately goes from the second page; it went from the first.
    mmap.advise(second, mmap.MADV_DONTNEED)
    expect([buffer[0], buffer[4096]]).toEqual([9, 7])
    mmap.unmap(buffer)
    closeSync(fd)
  })

  function thrownBy(call: () => unknown): unknown {
    try {
      call()
      return undefined
    } catch (error) {
      return error
    }
  }
})
