import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { open, raw } from '../../lib/index.js'
import {
  damageAtRandom,
  damages,
  flipBit,
  killRounds,
  makePayload,
  Oracle,
  overwrite,
  PowerLossSimulator,
  powerCuts,
  Random,
  readEverything,
  truncate,
  zeroPage,
} from '../../lib/testkit/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { segmentFiles, storedFrames, topicFolder } from '../helpers/log-files.js'

const folder = foldersPerTest()

test('random numbers follow from the seed', () => {
  const numbers = (seed: number) =>
    Array.from(
      { length: 5 },
      (
        (random) => () =>
          random.below(1000)
      )(new Random(seed)),
    )
  expect(numbers(1)).toEqual(numbers(1))
  expect(numbers(1)).not.toEqual(numbers(2))
  const random = new Random(9)
  const counts = [0, 0, 0, 0]
  for (let n = 0; n < 40_000; n++) counts[random.below(4)] = (counts[random.below(4)] as number) + 1
  for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(6000)
})

test('damage is done just where it says', () => {
  const file = join(folder(), 'file')
  const before = Buffer.alloc(12_288, 0xaa)
  writeFileSync(file, before)
  flipBit(file, 5, 3)
  expect(readFileSync(file).readUInt8(5)).toBe(0xaa ^ 8)
  overwrite(file, 9, Buffer.from('xy'))
  expect(readFileSync(file).toString('latin1', 9, 11)).toBe('xy')
  zeroPage(file, 1)
  expect(readFileSync(file).subarray(4096, 8192)).toEqual(Buffer.alloc(4096))
  expect(readFileSync(file).subarray(8192)).toEqual(before.subarray(8192))
  expect(truncate(file, 100)).toMatchObject({ offset: 100, bytes: 12_188 })
  expect(statSync(file).size).toBe(100)
  expect(() => flipBit(file, 100)).toThrow('has no byte 100')
  writeFileSync(file, before)
  const random = new Random(1)
  for (let n = 0; n < 200; n++) {
    writeFileSync(file, before)
    const { offset, bytes } = damageAtRandom(file, random, 12_288)
    const after = readFileSync(file)
    expect(after.subarray(0, offset).equals(before.subarray(0, offset))).toBe(true)
    if (after.length === before.length)
      expect(after.subarray(offset + bytes).equals(before.subarray(offset + bytes))).toBe(true)
  }
})

test('a power cut takes only what was not synced, page by page', () => {
  const place = folder()
  const source = join(place, 'source')
  mkdirSync(source)
  const file = join(source, 'data')
  writeFileSync(file, Buffer.alloc(16 * 4096, 1))
  const simulator = new PowerLossSimulator(source)
  simulator.synced(() => true)
  writeFileSync(file, Buffer.alloc(16 * 4096, 2))
  writeFileSync(join(source, 'new'), 'x')
  simulator.observe()
  const kinds = new Set<string>()
  for (let seed = 0; seed < 200; seed++) {
    const image = join(place, `image-${seed}`)
    simulator.image(image, seed)
    kinds.add(existsSync(join(image, 'new')) ? 'file there' : 'file missing')
    const bytes = readFileSync(join(image, 'data'))
    for (let page = 0; page < 16; page++) {
      const sectors = new Set(
        Array.from(
          { length: 8 },
          (_, n) => new Set(bytes.subarray(page * 4096 + n * 512, page * 4096 + n * 512 + 512)),
        ).flatMap((one) => [...one]),
      )
      kinds.add(sectors.size === 2 ? 'torn' : sectors.has(2) ? 'kept' : 'lost')
    }
  }
  expect([...kinds].sort()).toEqual(['file missing', 'file there', 'kept', 'lost', 'torn'])
  simulator.synced(() => true)
  simulator.image(join(place, 'last'), 1)
  expect(readFileSync(join(place, 'last/data'))).toEqual(Buffer.alloc(16 * 4096, 2))
  // The same seed gives the same image.
  simulator.image(join(place, 'again'), 1)
  expect(readFileSync(join(place, 'again/data'))).toEqual(readFileSync(join(place, 'last/data')))
})

test('a promise of synced that was not kept is found by power cuts', async () => {
  const place = join(folder(), 'place')
  const hermes = await open(place)
  const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 65_536 }).publisher()
  await publisher.flush('synced')
  const simulator = new PowerLossSimulator(place)
  simulator.synced()
  const oracle = new Oracle()
  for (let number = 0; number < 100; number++) {
    oracle.attempt(0, number + 1)
    publisher.publish(makePayload({ writer: 0, number }, 100))
    // The defect: acknowledged before it was synced.
    oracle.acknowledge({ writer: 0, number }, 'synced')
  }
  simulator.observe()
  await hermes.close()
  const found = new Set<string>()
  for (let seed = 0; seed < 10; seed++) {
    simulator.image(`${place}-${seed}`, seed)
    const image = await open(`${place}-${seed}`)
    await (await image.topic('t', { codec: raw }).publisher()).close()
    for (const { kind } of oracle.check({ ...(await readEverything(image, 't')), level: 'synced' })) found.add(kind)
    await image.close()
  }
  expect([...found]).toEqual(['lost'])
})

test.each(['with', 'without'])(
  'after a power cut, a segment that lost its base sequence, %s its first frame, does not keep damage before it from being mended',
  async (first) => {
    const place = folder()
    let hermes = await open(place)
    const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 65_536 }).publisher()
    for (let number = 0; number < 300; number++) publisher.publish(makePayload({ writer: 0, number }, 1000))
    await hermes.close()
    const copy = `${place}/copy`
    const simulator = new PowerLossSimulator(place)
    simulator.synced(() => true)
    simulator.image(copy, 1)
    const frames = storedFrames(copy, 't')
    const [, , third = '', fourth = ''] = segmentFiles(copy, 't')
    const lastOfThird = frames.filter(({ file, type }) => file === third && type === 'data').at(-1) as {
      offset: number
      sequence: number
    }
    overwrite(third, lastOfThird.offset, Buffer.alloc(65_536 - lastOfThird.offset))
    overwrite(fourth, 64, Buffer.alloc(first === 'with' ? 8 : 4032))
    const synced = join(topicFolder(copy, 't'), 'control')
    // Nothing is known to be on the disk.
    overwrite(synced, 512, Buffer.alloc(256))
    hermes = await open(copy)
    const recovered = await hermes.topic('t', { codec: raw }).publisher()
    expect(recovered.recovery?.rebooted).toBe(true)
    await recovered.close()
    const { seen, damage, nextSequence, voids } = await readEverything(hermes, 't')
    await hermes.close()
    expect([damage, nextSequence, seen.length + voids]).toEqual([[], 301, 300])
    expect(voids).toBe(first === 'with' ? 1 : 5)
  },
)

test('power cuts break no promise (a bounded part of the campaign)', { timeout: 120_000 }, async () => {
  const { violations, cases, counts } = await powerCuts({ folder: folder(), count: 120, seed: 7 })
  expect([violations, cases]).toEqual([[], 120])
  for (const name of ['pagesKept', 'pagesLost', 'pagesTorn', 'filesMissing', 'synced', 'setAside', 'cutTwice'])
    expect(counts[name]).toBeGreaterThan(0)
})

test('flips and truncations break no promise (a bounded part of the campaign)', { timeout: 120_000 }, async () => {
  const { violations, cases, counts } = await damages({ folder: folder(), count: 150, seed: 8 })
  expect([violations, cases]).toEqual([[], 150])
  for (const name of ['flip', 'truncate', 'overwrite', 'zero-page', 'lostInDamage', 'setAside'])
    expect(counts[name]).toBeGreaterThan(0)
})

test('SIGKILL of writers and readers breaks no promise (a bounded part of the campaign)', {
  timeout: 180_000,
}, async () => {
  const { violations, rounds, kills, acknowledged } = await killRounds({
    place: folder(),
    rounds: 12,
    seed: 9,
    roundsPerTopic: 6,
  })
  expect([violations, rounds]).toEqual([[], 12])
  expect(kills).toBeGreaterThanOrEqual(12)
  expect(acknowledged).toBeGreaterThan(0)
})
