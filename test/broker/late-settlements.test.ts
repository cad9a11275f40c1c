import { expect, it } from 'vitest'
import { LateSettlements } from '../../lib/broker/late-settlements.js'
import { Random } from '../../lib/testkit/random.js'

const pairsOf = (numbers: Float64Array) =>
  Array.from({ length: numbers.length / 2 }, (_, n) => [numbers[2 * n], numbers[2 * n + 1]])

it('late settlements are kept until the client has heard of them, in the order of their SETTLEs', () => {
  const random = new Random(8)
  for (let round = 0; round < 30; round++) {
    const late = new LateSettlements()
    let kept: [number, number][] = []
    let settle = 2 ** 40
    let known = settle
    for (let step = 0; step < 60; step++) {
      settle += random.below(3)
      for (let many = random.chance(0.1) ? 300 : random.below(10); many > 0; many--) {
        const sequence = 1 + random.below(2 ** 31) * 2 ** 20
        late.add(settle, sequence)
        kept.push([settle, sequence])
      }
      if (random.chance(0.5)) {
        known += random.below(settle - known + 1)
        late.forget(known)
        kept = kept.filter(([of]) => of > known)
      }
      expect(late.size).toBe(kept.length)
      const behind = known + random.below(settle - known + 2)
      expect(pairsOf(late.behind(behind))).toEqual(kept.filter(([of]) => of > behind))
    }
  }
})
