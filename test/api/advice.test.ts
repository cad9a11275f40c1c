import { expect, it } from 'vitest'
import {
  type Hermes,
  type HermesError,
  json,
  MpmcRing,
  msgpack,
  open,
  type Publisher,
  SpscByteRing,
  SpscRing,
  type Subscriber,
  struct,
  text,
  u32,
} from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

// A message names what was given and what to give in its place: who reads it need not look at the code, nor at the page.

const folder = foldersPerTest()
const Item = struct({ a: u32 })
const circle: unknown[] = []
circle.push(circle)

interface Things {
  readonly hermes: Hermes
  readonly publisher: Publisher<unknown>
  readonly subscriber: Subscriber<unknown, unknown>
}

const from = "takes 'earliest', 'latest', a sequence from 1 on, or a Date since 1970, not"

const cases: [work: (things: Things) => unknown, code: HermesError['code'], says: string][] = [
  [
    ({ hermes }) => hermes.topic('t').subscriber({ from: 'start' as never }),
    'INVALID_ARGUMENT',
    `'from' ${from} 'start'.`,
  ],
  [
    ({ hermes }) => hermes.topic('t').subscriber({ until: 'earliest' as never }),
    'INVALID_ARGUMENT',
    "'until' takes 'latest', a sequence from 1 on, or a Date since 1970, not 'earliest'.",
  ],
  [({ subscriber }) => subscriber.seek(-1), 'INVALID_ARGUMENT', `seek() ${from} -1.`],
  [
    ({ subscriber }) => subscriber.seek(new Date('x')),
    'INVALID_ARGUMENT',
    `seek() ${from} a Date without a time, or before 1970.`,
  ],
  [({ subscriber }) => subscriber.seek(99), 'OUT_OF_RANGE', "Use a sequence up to that one, or 'latest'."],
  [
    ({ hermes }) => hermes.topic('u', { segmentBytes: 100_000 }),
    'INVALID_ARGUMENT',
    "'segmentBytes' must be a multiple of 4096, such as 102400, not 100000.",
  ],
  [
    ({ hermes }) => hermes.topic('u', { segmentBytes: 65_536, maxPayloadBytes: 65_536 }),
    'INVALID_ARGUMENT',
    "'maxPayloadBytes' must be at most 16384, a quarter of 'segmentBytes' (65536), not 65536. Give larger segments, too.",
  ],
  [
    ({ hermes }) => hermes.topic('u', { codec: 'json' as never }),
    'INVALID_ARGUMENT',
    "'codec' must be a codec, not 'json':",
  ],
  [({ hermes }) => hermes.topic('u', { codec: { a: u32 } as never }), 'INVALID_ARGUMENT', 'or what struct({…})'],
  [
    ({ publisher }) => publisher.flush('written', 5 as never),
    'INVALID_ARGUMENT',
    'flush() takes an object of options ({ signal, timeoutMs }), not 5.',
  ],
  [
    () => open('tcp://127.0.0.1:1', { reconnect: true as never }),
    'INVALID_ARGUMENT',
    "'reconnect' must be false, or an object: { minMs, maxMs }.",
  ],
  [
    () => open('tls://broker.example:9000/quotes'),
    'INVALID_ARGUMENT',
    "The address has the path '/quotes': give tls://broker.example:9000 and nothing more.",
  ],
  [
    () => open('tcp://secret@broker.example:9000?x=1'),
    'INVALID_ARGUMENT',
    "The address has something before an '@'; a token is an option, and something behind a '?': give tcp://broker.example:9000 and",
  ],
  [
    () => open('tcp://secret@broker.example:99999'),
    'INVALID_ARGUMENT',
    "'tcp://broker.example:99999' has the port 99999, and ports go up to 65535: use tcp://host:port",
  ],
  [
    ({ publisher }) => publisher.publish({ id: 1n }),
    'ENCODE_FAILED',
    "Can't encode as json: JSON has no text for a bigint. Make it a string first, or use msgpack.",
  ],
  [({ publisher }) => publisher.publish(circle), 'ENCODE_FAILED', "Can't encode as json: the value holds itself. Conv"],
  [
    () => SpscByteRing.create({ capacity: 1024, codec: text, role: 'producer' }).tryPush('x'.repeat(2000)),
    'PAYLOAD_TOO_LARGE',
    "'itemBytes' or 'capacity' of a ring",
  ],
  [() => MpmcRing.create({ capacity: '1024' as never, codec: Item }), 'INVALID_ARGUMENT', "2 to 2^30, not '1024'."],
  [
    () => MpmcRing.create({ capacity: 64 } as never),
    'INVALID_ARGUMENT',
    "Give a 'codec' with a fixed size, such as struct({…}), or 'itemBytes'.",
  ],
  [
    () => SpscRing.attach('no-such-ring', { codec: Item, role: 'producer' }),
    'NOT_FOUND',
    "There is no ring 'no-such-ring'. Make it first, with create({ name: 'no-such-ring', … }).",
  ],
  [
    async ({ hermes }) => (await hermes.topic('m', { codec: msgpack }).publisher()).publish(circle),
    'ENCODE_FAILED',
    "Can't encode as msgpack: the value is nested more than 100 deep, or contains itself",
  ],
  [
    async ({ hermes }) => (await hermes.topic('m', { codec: msgpack }).publisher()).publish({ f: () => 1 }),
    'ENCODE_FAILED',
    "Can't encode as msgpack: the value holds a function or a symbol",
  ],
]

it('names what was given and what to give', async () => {
  const hermes = await open(folder())
  const topic = hermes.topic('t', { codec: json() })
  const publisher = await topic.publisher()
  const things = { hermes, publisher, subscriber: await topic.subscriber() }
  for (const [work, code, says] of cases) expect((await failure(code, () => work(things))).message).toContain(says)
  await hermes.close()
})

it('says on one line what a value is that holds itself', async () => {
  await using hermes = await open(folder())
  const publisher = await hermes.topic('t', { codec: json() }).publisher()
  expect((await failure('ENCODE_FAILED', () => publisher.publish(circle))).message).not.toContain('\n')
})

it('says how many did not close in order, and calls no member of a group a publisher', async () => {
  const hermes = await open(folder())
  const topic = hermes.topic('t', { codec: json() })
  await (await topic.publisher()).publishAsync(1)
  // What a member holds when it leaves comes again: nothing is unacknowledged of it.
  for (const name of ['a', 'b']) for await (const _ of await topic.group(name)) break
  const { message, details } = await failure('TIMED_OUT', () => hermes.close({ timeoutMs: 10 }))
  expect(message).toMatch(/group 'a'.* 1 more of what was open here did not close in order\.$/)
  expect(details).toMatchObject({ unacknowledged: 0, topics: ['t'] })
})

it('says of a closed subscriber that it is closed, whatever was under way', async () => {
  const hermes = await open(folder())
  const topic = hermes.topic('t', { codec: json() })
  ;(await topic.publisher()).publish(1)
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const left = subscriber[Symbol.asyncIterator]()
  await left.next()
  await failure('BUSY', () => subscriber[Symbol.asyncIterator]().next())
  await subscriber.close()
  await failure('CLOSED', () => subscriber[Symbol.asyncIterator]().next())
  await hermes.close()
})
