import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes } = place

/** Types of a topic's fields. */
async function typesOf(topic: string): Promise<Record<string, string>> {
  const { fields } = JSON.parse((await hermes(['info', topic, '--schema'])).stdout)
  const named = (fields as { name: string; type: string; size: number }[]).map(({ name, type, size }) => [
    name,
    type === 'utf8' ? `utf8(${size})` : type,
  ])
  return Object.fromEntries(named)
}

test('a CSV file becomes a struct topic whose layout holds every value', async () => {
  const file = place.file(
    'mixed.csv',
    '\ufeffsymbol,price,size,id,live,note\r\nBTC,50000.5,3,9223372036854775807,true,"a, ""quoted"" one"\r\nETH,,4,-1,false,"two\nlines"\r\n',
  )
  const { code, stderr } = await hermes(['replay', file, 'mixed', '--speed', 'max'])
  expect(stderr).toMatch(/^published 2 messages in .*, written, to mixed\n$/)
  expect(code).toBe(0)
  expect(await typesOf('mixed')).toEqual({
    symbol: 'utf8(8)',
    price: 'f64',
    size: 'i53',
    id: 'i64',
    live: 'bool',
    note: 'utf8(16)',
  })
  expect(await place.read('mixed')).toEqual([
    '{"symbol":"BTC","price":50000.5,"size":3,"id":"9223372036854775807","live":true,"note":"a, \\"quoted\\" one"}',
    '{"symbol":"ETH","price":null,"size":4,"id":"-1","live":false,"note":"two\\nlines"}',
  ])
})

test('columns get names, with and without a line of names', async () => {
  const bare = place.file('bare.csv', '1,2\n3,4\n')
  const headed = place.file('headed.csv', 'x,y\n1,2\n3,4\n')
  const expected = ['{"ask":1,"bid":2}', '{"ask":3,"bid":4}']
  await hermes(['replay', bare, 'a', '--columns', 'ask,bid', '--speed', 'max'])
  await hermes(['replay', headed, 'b', '--columns', 'ask,bid', '--header', '--speed', 'max'])
  await hermes(['replay', bare, 'c', '--no-header', '--speed', 'max'])
  expect(await place.read('a')).toEqual(expected)
  expect(await place.read('b')).toEqual(expected)
  expect(await place.read('c')).toEqual(['{"c1":1,"c2":2}', '{"c1":3,"c2":4}'])
})

test('other delimiters, stdin, json and a given schema are taken', async () => {
  const tabs = place.file('quotes.tsv', 'a\tb\n1\tx\n')
  await hermes(['replay', tabs, 'tabs', '--speed', 'max', '--codec', 'json'])
  expect(await place.read('tabs')).toEqual(['{"a":1,"b":"x"}'])
  const args = ['replay', '-', 'piped', '--format', 'csv', '--delimiter', ';', '--codec', 'json', '--speed', 'max']
  const { code } = await hermes(args, { input: 'a;b\n007;\n9007199254740993;1e3\n' })
  expect(code).toBe(0)
  expect(await place.read('piped')).toEqual(['{"a":"007","b":null}', '{"a":"9007199254740993","b":1000}'])
  const given = ['--schema', '{"b":"ascii(4)","a":"u8"}', '--speed', 'max']
  await hermes(['replay', tabs, 'given', ...given])
  expect(await place.read('given')).toEqual(['{"b":"x","a":1}'])
  // The layout of a topic that exists is taken from it, also for stdin.
  await hermes(['replay', '-', 'given', '--format', 'csv', '--speed', 'max'], { input: 'a,b\n2,y\n' })
  expect(await place.read('given')).toEqual(['{"b":"x","a":1}', '{"b":"y","a":2}'])
})

test('NDJSON becomes a json topic, or a struct one', async () => {
  const file = place.file('orders.ndjson', '{"id":1,"side":"buy"}\n\n{"side":"sell","id":2}\n')
  await hermes(['replay', file, 'orders', '--speed', 'max'])
  expect(await place.read('orders')).toEqual(['{"id":1,"side":"buy"}', '{"side":"sell","id":2}'])
  await hermes(['replay', file, 'fixed', '--speed', 'max', '--codec', 'struct'])
  expect(await typesOf('fixed')).toEqual({ id: 'i53', side: 'utf8(8)' })
  expect(await place.read('fixed')).toEqual(['{"id":1,"side":"buy"}', '{"id":2,"side":"sell"}'])
})

async function gapsMs(topic: string): Promise<number[]> {
  const times = (await place.read(topic, '--json')).map((line) => Number(JSON.parse(line).timestampNs) / 1e6)
  return times.slice(1).map((time, index) => time - (times[index] as number))
}

test('holds the recorded pace, in each unit and as dates, and multiplied', async () => {
  // Three records, 200 ms and 100 ms apart; what is sooner than its time by more than a timer's grain is a fault.
  const cases: [string, string[]][] = [
    ['t,n\n34200.0,1\n34200.2,2\n34200.3,3\n', []],
    ['t,n\n1000,1\n1200,2\n1300,3\n', ['--time-unit', 'ms']],
    ['t,n\n2026-01-31T09:30:00.000Z,1\n2026-01-31T09:30:00.200Z,2\n2026-01-31T09:30:00.300Z,3\n', []],
    ['t,n\n0,1\n2,2\n3,3\n', ['--speed', '10']],
    ['t,n\n0,1\n20,2\n30,3\n', ['--speed', '0.1', '--time-unit', 'ms']],
  ]
  for (const [index, [content, args]] of cases.entries()) {
    const file = place.file(`paced${index}.csv`, content)
    const { code, stderr } = await hermes(['replay', file, `paced${index}`, '--time', 't', ...args])
    expect(stderr).toContain('behind its time')
    expect(code).toBe(0)
    const [first = 0, second = 0] = await gapsMs(`paced${index}`)
    // A record that was late itself is nearer to those behind it: by no more than the summary says.
    const [, late, unit] = /at most ([\d.]+) (m?s) behind its time/.exec(stderr) ?? []
    const lateMs = Number(late) * (unit === 's' ? 1000 : 1)
    expect(lateMs).not.toBeNaN()
    expect(first).toBeGreaterThan(150 - lateMs)
    expect(first + second).toBeGreaterThan(250 - lateMs)
  }
})

test('does not wait with --speed max, nor for a time that goes back', async () => {
  const hours = place.file('hours.csv', 't,n\n0,1\n3600,2\n')
  expect((await hermes(['replay', hours, 'hours', '--time', 't', '--speed', 'max'])).code).toBe(0)
  const back = place.file('back.csv', 't,n\n5000,1\n0,2\n5000,3\n')
  expect((await hermes(['replay', back, 'back', '--time', 't'])).code).toBe(0)
  expect(await place.read('back')).toHaveLength(3)
})

test('stops after --count and says what it did with --json', async () => {
  const file = place.file('n.csv', 'n\n1\n2\n3\n')
  const { stdout, stderr } = await hermes(['replay', file, 'n', '--rate', '1000', '--count', '2', '--json'])
  expect(JSON.parse(stdout)).toMatchObject({
    topic: 'n',
    codec: 'struct',
    durability: 'written',
    published: 2,
    lastSequence: 2,
  })
  expect(stderr).toBe('')
})

/** File name, its content, arguments, exit code, and what the message says. */
const bad: [string, string, string[], number, string][] = [
  ['a.csv', 'x\n1\n', [], 2, 'At which pace?'],
  ['a.csv', 'x\n1\n', ['--speed', '10'], 2, '--time'],
  ['a.csv', 'x\n1\n', ['--rate', '1', '--time', 'x'], 2, 'one of them'],
  ['a.csv', 'x\n1\n', ['--speed', 'fast'], 2, 'max'],
  ['a.csv', 'x\n1\n', ['--speed', 'max', '--codec', 'text'], 2, 'msgpack'],
  ['a.csv', 'x\n1\n', ['--time', 'y'], 2, 'The columns are: x'],
  ['a.csv', '1,2\n3,4\n', ['--speed', 'max'], 2, '--columns'],
  ['a.csv', '1,2\n3,4\n', ['--speed', 'max', '--columns', 'a'], 2, 'names 1 columns, and the file has 2'],
  [
    'a.csv',
    'x,x\n3,4\n',
    ['--speed', 'max'],
    2,
    "Two columns are called 'x': give each a name of its own: --header --columns",
  ],
  ['a.csv', 'best bid\n3\n', ['--speed', 'max'], 2, 'best bid'],
  ['a.csv', '', ['--speed', 'max'], 2, 'no records'],
  ['a.csv', 'x\n3\n', ['--speed', 'max', '--delimiter', 'ab'], 2, 'one character'],
  ['a.csv', 'x\n3\n', ['--speed', 'max', '--schema', '{"y":"f64"}'], 2, "no column for the field 'y'"],
  ['a.txt', 'x\n3\n', ['--speed', 'max'], 2, '--format'],
  [
    'a.csv',
    'x,y\n1,2\n3\n',
    ['--speed', 'max'],
    7,
    'line 3: The row has 1 cell, which is not what the first one has: each',
  ],
  ['a.csv', 'x,y\n1,2,3\n', ['--speed', 'max'], 7, 'line 2: The row has 3 cells, '],
  ['a.csv', 'x,y\n1,2\n"3,4\n', ['--speed', 'max'], 7, 'line 3: The quote that opens a cell here is never closed.'],
  [
    'a.csv',
    'x,y\n"a "b"",2\n',
    ['--speed', 'max'],
    7,
    'line 2: Something follows the closing quote of a cell. A quote',
  ],
  [
    'a.csv',
    'x,y\na "b",2\n',
    ['--speed', 'max'],
    7,
    'line 2: A quote stands within a cell that does not begin with one.',
  ],
  ['a.csv', 't\n1\nnoon\n', ['--time', 't'], 7, 'line 3: \'t\' holds "noon"'],
  ['a.csv', 'x\n1\n2\nthree\n', ['--speed', 'max', '--schema', '{"x":"u8"}'], 7, 'line 4: '],
  ['a.ndjson', '{"x":1}\n{"x":\n', ['--speed', 'max'], 7, 'line 2: This is not JSON'],
  ['a.ndjson', '{"x":1}\n7\n', ['--speed', 'max'], 7, 'line 2: A record is a JSON object'],
  ['a.ndjson', '{"x":[1]}\n', ['--speed', 'max', '--codec', 'struct'], 7, 'no type can be inferred'],
]

test.each(bad)('refuses %s holding %j with %j', async (name, content, args, code, text) => {
  const { code: exit, stderr } = await hermes(['replay', place.file(name, content), 'topic', ...args])
  expect(stderr).toContain(text)
  expect(exit).toBe(code)
})

test('publishes the records before a bad one, and says how many', async () => {
  const file = place.file('a.ndjson', '{"x":1}\n{"x":2}\nx\n')
  const { stderr } = await hermes(['replay', file, 'topic', '--speed', 'max'])
  expect(stderr).toContain('2 messages published before this failure:')
  expect(await place.read('topic')).toEqual(['{"x":1}', '{"x":2}'])
})

test('a file that is not there, and a folder, are refused before anything is made', async () => {
  const absent = await hermes(['replay', 'none.csv', 'topic', '--speed', 'max'])
  expect([absent.code, existsSync(join(place.folder, 'hermes-data'))]).toEqual([3, false])
  const folder = await hermes(['replay', place.folder, 'topic', '--speed', 'max', '--format', 'csv'])
  expect(folder.stderr).toContain('it is a directory')
  expect(folder.code).toBe(2)
})

test('a topic of text takes no records', async () => {
  await hermes(['pub', 'words', 'x'])
  const file = place.file('a.csv', 'x\n1\n')
  expect((await hermes(['replay', file, 'words', '--speed', 'max'])).code).toBe(8)
})

const quotes =
  process.env['HERMES_QUOTES'] ?? join(import.meta.dirname, '../../../shared/data/aapl-2012-06-21-best-quotes.csv')

test.skipIf(!existsSync(quotes))(
  'a day of quotes comes out as it went in (set HERMES_QUOTES to its file)',
  async () => {
    const columns = 'ask,askSize,bid,bidSize'
    const { code, stderr } = await hermes(['replay', quotes, 'quotes', '--columns', columns, '--speed', 'max'])
    expect(stderr).toContain('published 118,497 messages')
    expect(code).toBe(0)
    const rows = (await place.read('quotes')).map((line) => Object.values(JSON.parse(line)).join(','))
    const hash = (text: string) => createHash('sha256').update(text).digest('hex')
    expect(hash(rows.join('\n'))).toBe(hash(readFileSync(quotes, 'utf8').replace(/\r/g, '').trimEnd()))
  },
)
