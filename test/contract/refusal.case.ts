import { expect } from 'vitest'
import { json } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import type { Suite } from './placement.js'

const count = json<number>()

const hostileNames: readonly unknown[] = [
  '',
  '.',
  '..',
  '../x',
  'a/b',
  'a\\b',
  '/etc/passwd',
  '.hidden',
  '-rf',
  'a b',
  'a\0b',
  'a\n',
  'ünï',
  'x'.repeat(129),
  'x'.repeat(300),
  '%2e%2e',
  undefined,
  null,
  5,
  {},
  [],
  ['a'],
  Symbol('a'),
  () => 'a',
  Object.create(null),
  { toString: () => 'a' },
]

export function refusalCase({ it }: Suite): void {
  it('refuses hostile topic names', async ({ hermes }) => {
    for (const name of hostileNames as string[]) {
      await failure('INVALID_NAME', () => hermes.topic(name))
      await failure('INVALID_NAME', () => hermes.info(name))
    }
    expect(await hermes.topics()).toEqual([])
  })

  it('takes every name that the alphabet allows', async ({ hermes }) => {
    const names = ['a', '_', '0', 'x'.repeat(128), 'A.b_c-9', 'a..b', 'con', 'topic.json', '__proto__', 'constructor']
    for (const name of names) {
      const publisher = await hermes.topic(name, { codec: count, segmentBytes: 65_536 }).publisher()
      publisher.publish(1)
      await publisher.close()
      expect((await hermes.info(name)).nextSequence).toBe(2)
    }
    expect(await hermes.topics()).toEqual([...names].sort())
  })

  it('names the option that was likely meant', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber()
    const misspelt: [() => unknown, string, string][] = [
      [() => hermes.topic('x', { codek: count } as never), 'codek', 'codec'],
      [() => hermes.topic('x', { segmentbytes: 65_536 } as never), 'segmentbytes', 'segmentBytes'],
      [() => hermes.topic('x', { retention: { byte: 5 } } as never), 'byte', 'bytes'],
      [() => topic.publisher({ durabilty: 'synced' } as never), 'durabilty', 'durability'],
      [() => topic.publisher({ exlusive: true } as never), 'exlusive', 'exclusive'],
      [() => topic.subscriber({ form: 'earliest' } as never), 'form', 'from'],
      [() => topic.subscriber({ onDamge: 'skip' } as never), 'onDamge', 'onDamage'],
      [() => publisher.publishAsync(1, { sgnal: undefined } as never), 'sgnal', 'signal'],
      [() => publisher.flush('written', { singal: undefined } as never), 'singal', 'signal'],
      [() => publisher.ready({ Signal: undefined } as never), 'Signal', 'signal'],
      [() => subscriber.ready({ signals: undefined } as never), 'signals', 'signal'],
    ]
    for (const [use, option, likely] of misspelt) {
      const error = await failure('UNKNOWN_OPTION', use)
      expect(error.details).toMatchObject({ option, likely })
      expect(error.message).toContain(`Did you mean '${likely}'?`)
    }
    const error = await failure('UNKNOWN_OPTION', () => topic.subscriber({ zebra: 1 } as never))
    expect(error.message).toContain('from, wait, signal, verify, onDamage')
    expect(publisher.lastSequence).toBe(0)
  })

  it('refuses values that an option can not have', async ({ hermes }) => {
    const topic = hermes.topic('counts', { codec: count })
    const wrong: (() => unknown)[] = [
      () => hermes.topic('x', null as never),
      () => hermes.topic('x', [] as never),
      () => hermes.topic('x', 'json' as never),
      ...[0, 4096, 65_537, 65_536 + 8, 2 ** 31, Number.NaN, '65536', 65_536n].map(
        (segmentBytes) => () => hermes.topic('x', { segmentBytes } as never),
      ),
      ...[0, -1, 1.5, 16_385, '10'].map(
        (maxPayloadBytes) => () => hermes.topic('x', { segmentBytes: 65_536, maxPayloadBytes } as never),
      ),
      ...[0, -1, 'all'].map((bytes) => () => hermes.topic('x', { retention: { bytes } } as never)),
      ...[0, 0.5, Number.POSITIVE_INFINITY].map((ageMs) => () => hermes.topic('x', { retention: { ageMs } } as never)),
      () => hermes.topic('x', { retention: 5 } as never),
      () => hermes.topic('x', { lowWaterBytes: -1 }),
      () => hermes.topic('x', { create: 'no' } as never),
      ...[null, {}, 'json', () => json, { ...json, encode: undefined }].map(
        (codec) => () => hermes.topic('x', { codec } as never),
      ),
      () => topic.publisher(null as never),
      () => topic.publisher({ durability: 'sync' as never }),
      () => topic.publisher({ exclusive: 1 as never }),
      () => topic.subscriber('earliest' as never),
      ...['first', 0, -1, 1.5, 2 ** 53, Number.NaN, new Date(Number.NaN), new Date(-1), null, 1n, {}].map(
        (from) => () => topic.subscriber({ from } as never),
      ),
      () => topic.subscriber({ wait: 'sleep' as never }),
      () => topic.subscriber({ verify: 'yes' as never }),
      () => topic.subscriber({ onDamage: 'ignore' as never }),
    ]
    for (const use of wrong) await failure('INVALID_ARGUMENT', use)
    expect(await hermes.topics()).toEqual([])
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber()
    await failure('INVALID_ARGUMENT', () => publisher.flush('soon' as never))
    for (const values of [undefined, null, 5, {}])
      await failure('INVALID_ARGUMENT', () => publisher.publishBatch(values as never))
    for (const target of ['first', 0, undefined])
      await failure('INVALID_ARGUMENT', () => subscriber.seek(target as never))
    const error = await failure('INVALID_ARGUMENT', () => topic.subscriber({ wait: 'spinn' as never }))
    expect(error.message).toContain("Did you mean 'spin'?")
  })
}
