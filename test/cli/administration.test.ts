import { copyFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { json, open } from '../../lib/index.js'
import { usePlace } from './helpers.js'

/** Each command is a process, and there are some twenty. */
const long = { timeout: 240_000 }

const place = usePlace()

const hermes = (...args: string[]) => place.hermes(args)

async function groupOf(handled: number): Promise<void> {
  await using opened = await open(join(place.folder, 'hermes-data'))
  await using group = await opened.topic('orders', { codec: json }).group('billing')
  expect(group.poll(() => {}, handled)).toBe(handled)
}

/** What a command with --json prints, as one object for each line. */
async function printed(...args: string[]): Promise<Record<string, unknown>[]> {
  const { code, lines, stderr } = await hermes(...args, '--json')
  expect([code, stderr]).toEqual([0, ''])
  return lines.map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('topics are made, altered, listed and deleted, in a directory', long, async () => {
  const made = await hermes('topics', 'create', 'orders', '--retain-bytes', '1MiB', '--wait-for-groups', '2MiB')
  expect([made.code, made.stdout]).toEqual([0, 'orders: there, with codec json\n'])
  expect(await printed('info', 'orders')).toMatchObject([
    { codec: { name: 'json' }, retention: { bytes: 1 << 20, waitForGroups: 1 << 21 } },
  ])
  const layout = place.file('quotes.json', JSON.stringify({ bid: 'f64', ask: 'f64' }))
  const struct = ['topics', 'create', 'quotes', '--codec', 'struct', '--schema', layout, '--segment-bytes', '64KiB']
  expect(await printed(...struct, '--max-payload', '1KiB')).toMatchObject([
    { codec: { name: 'struct' }, segmentBytes: 65_536, maxPayloadBytes: 1024 },
  ])
  for (const list of [['topics'], ['topics', 'list']])
    expect((await hermes(...list)).lines).toEqual(['orders', 'quotes'])
  expect((await hermes('topics', 'list', '--long')).lines[0]).toMatch(/^TOPIC +CODEC +MESSAGES/)
  expect(await printed('topics', 'alter', 'orders', '--retain-age', '7d')).toMatchObject([
    { retention: { bytes: 1 << 20, ageMs: 604_800_000, waitForGroups: 1 << 21 } },
  ])
  expect((await printed('topics', 'alter', 'orders', '--keep-all'))[0]?.['retention']).toEqual({})
  for (const wrong of [[], ['--keep-all', '--retain-age', '1d']])
    expect((await hermes('topics', 'alter', 'orders', ...wrong)).code).toBe(2)
  const missing = await hermes('topics', 'delete', 'order')
  expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining("Did you mean 'orders'?")])
  expect(await printed('topics', 'delete', 'quotes')).toEqual([{ topic: 'quotes', deleted: true }])
  expect((await hermes('topics')).lines).toEqual(['orders'])
})

test('a topic that is in use is deleted by force only, and who reads it ends with 3', long, async () => {
  await hermes('pub', 'orders', 'one')
  const reader = place.start(['sub', 'orders', '--from', 'earliest'])
  await reader.until('one')
  const refused = await hermes('topics', 'delete', 'orders')
  expect([refused.code, refused.stderr]).toEqual([9, expect.stringContaining('in use')])
  expect((await hermes('topics', 'delete', 'orders', '--force')).stdout).toBe('orders: deleted\n')
  const ended = await reader.ended
  expect([ended.code, ended.stdout]).toEqual([3, 'one\n'])
  expect(ended.stderr).toContain('TOPIC_DELETED')
})

test.each(['in a directory', 'through a broker'])('groups are shown, reset and deleted, %s', long, async (where) => {
  await hermes('pub', 'orders', '--codec', 'json', '1', '2', '3')
  await groupOf(1)
  await using broker = await serve({ dir: join(place.folder, 'hermes-data'), port: 0, log: () => {} })
  const there = where === 'in a directory' ? [] : ['--url', broker.url]
  expect(await printed('groups', 'list', ...there)).toMatchObject([
    { topic: 'orders', name: 'billing', kind: 'shared', members: 0, inFlight: 0, lag: { messages: 2 }, lost: 0 },
  ])
  const table = (await hermes('groups', ...there)).lines
  expect(table[0]).toMatch(/^TOPIC +GROUP +KIND +MEMBERS +IN FLIGHT +LAG +BEHIND +LOST$/)
  expect(table[1]).toMatch(/^orders +billing +shared +0 +0 +2 +[\d.]+ s +0$/)
  expect((await hermes('groups', 'list', 'orders', ...there)).lines).toHaveLength(2)
  expect((await hermes('groups', 'list', 'order', ...there)).code).toBe(3)
  const described = await hermes('groups', 'describe', 'orders', 'billing', ...there)
  expect(described.stdout).toMatch(/^lag +2 messages, [\d.]+ s$/m)
  expect(await printed('groups', 'describe', 'orders', 'billing', ...there)).toMatchObject([{ floor: 2, end: 4 }])
  expect((await hermes('groups', 'reset', 'orders', 'billing', 'latest', ...there)).stdout).toBe(
    'orders, billing: goes on at sequence 4\n',
  )
  expect(await printed('groups', 'reset', 'orders', 'billing', '3', ...there)).toEqual([
    { topic: 'orders', group: 'billing', sequence: 3 },
  ])
  expect((await hermes('groups', 'reset', 'orders', 'billing', '2001-01-01', ...there)).stdout).toContain('sequence 1')
  expect((await hermes('groups', 'reset', 'orders', 'billing', '9', ...there)).code).toBe(10)
  expect((await hermes('groups', 'reset', 'orders', 'billing', 'nowhere', ...there)).code).toBe(2)
  expect((await hermes('groups', 'delete', 'orders', 'billing', ...there)).stdout).toBe('orders, billing: deleted\n')
  expect((await hermes('groups', 'describe', 'orders', 'billing', ...there)).code).toBe(3)
  expect((await hermes('groups', ...there)).stdout).toBe('')
})

test('the help of each of them has examples and exit codes', long, async () => {
  for (const command of ['topics create', 'topics delete', 'groups', 'groups describe', 'groups reset']) {
    const { code, stdout } = await hermes('help', ...command.split(' '))
    expect(code).toBe(0)
    expect(stdout).toContain('Examples:')
    expect(stdout).toContain(`hermes ${command}`)
    expect(stdout).toContain('Exit codes:')
  }
})

test('what is wrong with one topic hides the groups of no other', long, async () => {
  for (const topic of ['first', 'orders', 'third'])
    expect((await hermes('pub', topic, '1', '--codec', 'json')).code).toBe(0)
  await groupOf(1)
  await writeFile(join(place.folder, 'hermes-data/topics/first/topic.json'), 'damaged')
  const listed = await hermes('groups', 'list')
  expect([listed.code, listed.lines.length]).toEqual([5, 2])
  expect(listed.lines[1]).toMatch(/^orders +billing /)
  expect(listed.stderr).toContain('hermes repair first --codec')
})

test.each(['in a directory', 'through a broker'])(
  'a damaged group hides no other of its topic, %s',
  long,
  async (where) => {
    expect((await hermes('pub', 'orders', '1', '--codec', 'json')).code).toBe(0)
    await groupOf(1)
    const data = join(place.folder, 'hermes-data')
    const groups = join(data, 'topics/orders/groups')
    await copyFile(join(groups, 'billing.grp'), join(groups, 'audit.grp'))
    await copyFile(join(groups, 'billing.grp'), join(groups, 'shipping.grp'))
    await truncate(join(groups, 'billing.grp'), 5000)
    const broker = where === 'through a broker' ? await serve({ dir: data, port: 0, log: () => {} }) : undefined
    const there = broker === undefined ? [] : ['--url', broker.url]
    const listed = await hermes('groups', 'list', ...there)
    expect([listed.code, listed.lines.map((line) => line.split(/ +/)[1])]).toEqual([5, ['GROUP', 'audit', 'shipping']])
    expect(listed.stderr).toContain('billing.grp')
    await broker?.close()
  },
)
