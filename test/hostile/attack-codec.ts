import { Decoder, Encoder } from '../../lib/index.js'
import type { Random } from '../../lib/testkit/random.js'
import { refused, type Target } from './codecs.js'
import { attempt, same, Thrown, text, Violation } from './judge.js'
import { hostile, type Scene, unknown } from './values.js'

const guard = 0xa5

export interface Counts {
  accepted: number
  refused: number
  nested: number
}

/** One value through a codec alone: nothing outside of its place is written, and what was taken comes back. */
export function attackCodec(target: Target, random: Random, counts: Counts): void {
  const thrown = new Thrown()
  const { codec } = target
  const scene: Scene = {
    random,
    thrown,
    act: () => {
      counts.nested++
      // Another value by the same codec, elsewhere.
      const good = target.good(random)
      const aside = regionOf(1000)
      const length = codec.encode(good, aside, 0, 1000)
      same(`${target.name} nested`, codec.decode(aside, 0, length), target.back(good))
    },
  }
  const { value, plain } = target.make(scene)
  const region = regionOf(2000)
  region.bytes.fill(guard)
  const offset = random.pick([8, 40, 123])
  const limit = offset + random.pick([0, 1, 7, 64, 300, 1500])
  const where = `${target.name} of ${text(value)}`
  const result = attempt(where, thrown, () => codec.encode(value, region, offset, limit))
  const touched = region.bytes.findIndex((byte, at) => byte !== guard && (at < offset || at >= limit))
  if (touched >= 0) throw new Violation(`${where}: byte ${touched} was written; the place is ${offset} to ${limit}`)
  if ('code' in result) {
    counts.refused++
    judgeRefusal(where, result.code, plain, target)
  } else {
    counts.accepted++
    const length = result.value
    if (!Number.isInteger(length) || length < 0 || length > limit - offset)
      throw new Violation(`${where}: length ${String(length)}`)
    const back = codec.decode(region, offset, length)
    if (plain !== unknown) same(where, back, target.back(plain))
    const again = attempt(`${where} again`, thrown, () => codec.decode(region, offset, length))
    same(`${where} again`, again, { value: back })
  }
  // Whatever happened, it works as before.
  const good = target.good(random)
  const length = codec.encode(good, region, 0, 1500)
  same(`${target.name} afterwards`, codec.decode(region, 0, length), target.back(good))
}

/** What may be said of a value that is plain: only that it is none of the codec's, or too large. */
export function judgeRefusal(where: string, code: string, plain: unknown, target: Target): void {
  if (code === 'own') throw new Violation(`${where}: what the caller's code threw came out as it was`)
  if (plain === unknown || code === 'PAYLOAD_TOO_LARGE' || code === 'BACK_PRESSURE') return
  if (target.back(plain) !== refused) throw new Violation(`${where}: refused with ${code}`)
}

export function regionOf(size: number): { bytes: Uint8Array; data: DataView } {
  const bytes = new Uint8Array(size)
  return { bytes, data: new DataView(bytes.buffer) }
}

/** An Encoder that hostile values call back into, and a Decoder whose handler does. */
export function attackEncoder(target: Target, random: Random, counts: Counts): void {
  const thrown = new Thrown()
  const expected: unknown[] = []
  let inside = false
  const within = <T>(call: () => T): T => {
    inside = true
    try {
      return call()
    } finally {
      inside = false
    }
  }
  const encoder = new Encoder(target.codec, {
    capacity: random.pick([512, 4096, 65_536]),
    maxPayload: 2048,
    timestamp: random.pick(['wall', 'none', () => 5n] as const),
  })
  const scene: Scene = {
    random,
    thrown,
    act: () => {
      // (also run by what only shows a value)
      if (!inside) return
      counts.nested++
      const good = target.good(random)
      const call = random.pick<() => unknown>([
        () => encoder.encode(good),
        () => encoder.encodeBatch([good]),
        () => encoder.reset(),
        () => encoder.reset(7),
        () => encoder.bytes.length + encoder.length + encoder.sequence,
      ])
      const result = attempt('nested', thrown, call)
      if ('code' in result && result.code !== 'BUSY') throw new Violation(`nested call of Encoder: ${result.code}`)
    },
  }
  for (let n = 0; n < 12; n++) {
    const pair = target.make(scene)
    const where = `Encoder, ${target.name} of ${text(pair.value)}`
    const before = { length: encoder.length, sequence: encoder.sequence }
    if (random.chance(0.7)) {
      const result = attempt(where, thrown, () => within(() => encoder.encode(pair.value)))
      if ('code' in result) {
        judgeRefusal(where, result.code, pair.plain, target)
        same(where, { length: encoder.length, sequence: encoder.sequence }, before)
        counts.refused++
      } else {
        expected.push(pair.plain === unknown ? unknown : target.back(pair.plain))
        counts.accepted++
      }
    } else {
      const batch = [target.good(random), pair.value, target.good(random)]
      const plain = [
        target.back(batch[0]),
        pair.plain === unknown ? unknown : target.back(pair.plain),
        target.back(batch[2]),
      ]
      const result = attempt(where, thrown, () => within(() => encoder.encodeBatch(batch)))
      const taken = encoder.sequence - before.sequence
      if ('value' in result) same(where, result.value, taken)
      expected.push(...plain.slice(0, taken))
    }
    const wrong = [hostile(scene), hostile(scene)] as const
    attempt('hostile arguments', thrown, () => within(() => encoder.encodeBatch(wrong[0] as never, wrong[1] as never)))
    while (expected.length < encoder.sequence) expected.push(unknown)
  }
  const decoder = new Decoder(target.codec, { maxPayload: 2048 })
  const found: unknown[] = []
  const bytes = encoder.bytes.slice()
  const consumed = decoder.decode(bytes, (view, frame) => {
    const { sequence } = frame
    const nested = attempt('nested', thrown, () => decoder.decode(bytes, () => {}))
    same('a Decoder within its handler', nested, { code: 'BUSY' })
    same('sequence', sequence, found.length)
    found.push(owned(view))
  })
  same(`Decoder, ${target.name}: bytes`, consumed, bytes.length)
  compare(`Decoder, ${target.name}`, found, expected)
  same(
    'messages',
    [...decoder.messages(bytes)].map((one) => one.value),
    found,
  )
  // Damaged, and not bytes at all.
  for (let n = 0; n < 4; n++) {
    attempt('Decoder', thrown, () => decoder.decode(hostile(scene) as never, () => {}, hostile(scene) as never))
    if (bytes.length > 0) bytes[random.below(bytes.length)] = random.below(256)
    attempt('Decoder', thrown, () => decoder.decode(bytes, () => {}))
  }
}

/** What a view shows, copied. */
export function owned(view: unknown): unknown {
  if (view instanceof Uint8Array) return Uint8Array.from(view)
  const toObject = (view as { toObject?: () => unknown } | null)?.toObject
  return typeof toObject === 'function' ? toObject.call(view) : view
}

export function compare(where: string, found: readonly unknown[], expected: readonly unknown[]): void {
  same(`${where}: how many`, found.length, expected.length)
  for (const [at, one] of expected.entries()) if (one !== unknown) same(`${where}, number ${at}`, found[at], one)
}
