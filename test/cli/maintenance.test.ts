import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { flipBit, segmentFiles } from '../helpers/log-files.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes } = place
const dir = () => join(place.folder, 'hermes-data')

test('verify says what is good, per topic and for programs', async () => {
  await hermes(['pub', 'a', 'x', 'y'])
  await hermes(['pub', 'b', 'z'])
  const { code, lines, stderr } = await hermes(['verify'])
  expect([code, stderr, lines.length]).toEqual([0, '', 2])
  expect(lines[0]).toMatch(/^a: good: 2 messages, 80 bytes in 1 segment; .*GB\/s$/)
  const report = JSON.parse((await hermes(['verify', 'b', '--json'])).stdout)
  expect(report).toMatchObject({ topic: 'b', messages: 1, damage: [] })
})

test('verify of a damaged topic still looks at the others, and ends with 5; repair mends it', async () => {
  await hermes(['pub', 'a', 'one', 'two', 'three'])
  await hermes(['pub', 'b', 'z'])
  const [file = ''] = segmentFiles(dir(), 'a')
  flipBit(file, 256 + 40 + 33)
  const damaged = readFileSync(file)
  const { code, lines, stderr } = await hermes(['verify'])
  expect(code).toBe(5)
  expect(lines[0]).toMatch(/^a: DAMAGED: 2 messages/)
  expect(lines[1]).toBe('  segment 1, offset 296: 40 bytes, sequence 2: the bytes are not a valid frame')
  expect(lines[2]).toMatch(/^b: good/)
  expect(stderr).toContain('[CORRUPT]')
  expect((await hermes(['repair', 'a', '--dry-run'])).lines).toEqual(['a: 1 piece would be set aside', lines[1]])
  expect(readFileSync(file).equals(damaged)).toBe(true)
  const repaired = JSON.parse((await hermes(['repair', 'a', '--json'])).stdout)
  expect(repaired).toMatchObject({ topic: 'a', dryRun: false, damage: [{ firstSequence: 2, count: 1 }] })
  expect(readdirSync(join(dir(), 'topics/a/quarantine'))).toHaveLength(2)
  expect((await hermes(['verify', 'a'])).stdout).toMatch(/^a: good: 2 messages, 1 void/)
  expect((await hermes(['repair', 'a'])).lines).toEqual(['a: nothing to repair'])
})

test('doctor says what it looked at, and what to do; a problem makes it fail', async () => {
  await hermes(['pub', 'a', 'x'])
  const { code, stdout } = await hermes(['doctor'])
  expect(code).toBe(0)
  expect(stdout).toMatch(/^ok: a: Publishers: 0/m)
  flipBit(join(dir(), 'topics/a/control'), 20)
  const sick = await hermes(['doctor', '--json'])
  expect([sick.code, JSON.parse(sick.stdout).severity]).toEqual([1, 'problem'])
  expect((await hermes(['doctor'])).stdout).toMatch(/^PROBLEM: a: .*\n {4}.*`hermes repair a`/m)
})

test('a place that was given as an argument and is not there is not looked for by --dir', async () => {
  for (const args of [
    ['backup', 'missing', 'copy'],
    ['mirror', './missing/t', './copy/t'],
  ]) {
    const { code, stderr } = await hermes(args)
    expect(code).toBe(3)
    expect(stderr).toContain(
      `There is no directory ${join(place.folder, 'missing')}. Give the directory that the topics are in.`,
    )
    expect(stderr).not.toContain('--dir')
  }
  expect((await hermes(['topics', '--dir', 'missing'])).stderr).toContain('give --dir or HERMES_DIR')
})

test('what can not be led is refused, and nothing said of waiting', async () => {
  await hermes(['pub', 'a', 'x'])
  const { code, stderr } = await hermes(['lead', 'one', '--', 'true'])
  expect([code, stderr]).toEqual([1, expect.stringContaining('[UNSUPPORTED]')])
  expect(stderr).not.toContain('Waiting')
  const misnamed = await hermes(['lead', 'a/b', '--', 'true'])
  expect(misnamed.stderr).toContain('[INVALID_NAME]')
  expect(misnamed.stderr).not.toContain('Waiting')
})

test('a topic that does not exist is named with the one that was meant', async () => {
  await hermes(['pub', 'quotes', 'x'])
  for (const args of [
    ['verify', 'quotse'],
    ['repair', 'quotse'],
  ]) {
    const { code, stderr } = await hermes(args)
    expect([code, stderr]).toEqual([3, expect.stringContaining("Did you mean 'quotes'")])
  }
  expect((await hermes(['verify', '--dir', 'nowhere'])).code).toBe(3)
})

test('backup copies a place, and tells what it copied', async () => {
  await hermes(['pub', 'a', 'x', 'y'])
  await hermes(['pub', 'b', 'z'])
  const done = await hermes(['backup', 'hermes-data', 'copy'])
  expect([done.code, done.lines]).toEqual([0, ['a: sequences 1 to 2', 'b: sequence 1']])
  expect((await hermes(['sub', 'a', '--from', 'earliest', '--end', '--dir', 'copy'])).lines).toEqual(['x', 'y'])
  const again = await hermes(['backup', 'hermes-data', 'copy'])
  expect([again.code, again.stderr]).toEqual([2, expect.stringContaining('is not empty')])
  const one = await hermes(['backup', 'hermes-data', 'one', '--topic', 'b', '--json'])
  expect(JSON.parse(one.stdout)).toMatchObject({
    topics: [{ topic: 'b', firstSequence: 1, nextSequence: 2, damage: [] }],
  })
  const none = await hermes(['backup', 'hermes-data', 'none', '--topic', 'c'])
  expect([none.code, none.stderr]).toEqual([3, expect.stringContaining("no topic 'c'")])
  const [file = ''] = segmentFiles(dir(), 'a')
  flipBit(file, 256 + 32)
  const damaged = await hermes(['backup', 'hermes-data', 'damaged'])
  expect([damaged.code, damaged.stderr]).toEqual([5, expect.stringContaining('The backup is there')])
  expect((await hermes(['sub', 'a', '--from', 'earliest', '--end', '--dir', 'damaged'])).lines).toEqual(['y'])
})
