import { describe, expect, test } from 'vitest'
import { attackCodec, attackEncoder } from './attack-codec.js'
import { attackRing, ringKinds } from './attack-ring.js'
import { targets } from './codecs.js'
import { run, timeout } from './run.js'

describe('codecs take hostile values, or refuse them with a code', () => {
  test.each(targets)('$name', { timeout }, async (target) => {
    const counts = await run(target.name, 400, (random, counts) => attackCodec(target, random, counts))
    expect(Math.min(counts.accepted, counts.refused)).toBeGreaterThan(20)
  })

  test.each(targets)('Encoder and Decoder, $name', { timeout }, async (target) => {
    const counts = await run(`Encoder ${target.name}`, 40, (random, counts) => attackEncoder(target, random, counts))
    expect(counts.accepted).toBeGreaterThan(20)
  })
})

describe('rings lose, double and change nothing', () => {
  const cases = ringKinds.flatMap((kind) =>
    targets
      .filter(({ codec }) => kind === 'bytes' || codec.maxBytes !== undefined)
      .map((target) => ({ kind, target, name: `${kind}, ${target.name}` })),
  )
  test.each(cases)('$name', { timeout }, async ({ kind, target, name }) => {
    const counts = await run(name, 60, (random, counts) => attackRing(kind, target, random, counts))
    expect(counts.accepted).toBeGreaterThan(100)
  })
})
