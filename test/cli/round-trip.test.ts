import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test, vi } from 'vitest'
import { Random } from '../../lib/testkit/random.js'
import { usePlace } from './helpers.js'

/* What goes in by `pub` and `replay` comes out by `sub`, whatever it is: by a seed, which the failure names. */

const place = usePlace()
const { hermes } = place
const many = Number(process.env['HERMES_ROUND_TRIPS'] ?? 500)
const seed = Number(process.env['HERMES_ROUND_TRIP_SEED'] ?? Date.now() % 100_000)
let random: Random

vi.setConfig({ testTimeout: 240_000 })

beforeEach(() => {
  random = new Random(seed)
})

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)
const below = (limit: number): number => random.below(limit)
const pick = <T>(choices: readonly T[]): T => random.pick(choices) as T

/** A string of characters that formats take for something. */
function words(most = 12, without: RegExp = /(?!)/): string {
  const characters = [
    ...'abZ09 ,;"\'\\/\t-+.:{}[]#=é€ß',
    '\u{1f600}',
    '\u2028',
    '\u0085',
    '\ufeff',
    '\u0000',
    '\n',
    '\r',
  ]
  return times(below(most), () => pick(characters))
    .join('')
    .replace(new RegExp(without, 'g'), '')
}

/** A number as JSON may write it, of any size and form. */
function numeral(): string {
  const digits = (most: number) => times(1 + below(most), () => below(10)).join('')
  const whole = pick(['0', `${1 + below(9)}${digits(pick([1, 5, 15, 18, 40]))}`])
  const fraction = pick(['', '', `.${digits(20)}`])
  const exponent = pick(['', '', '', `e${pick(['', '+', '-'])}${below(420)}`])
  return `${pick(['', '-'])}${whole}${fraction}${exponent}`
}

/** A JSON text in one line, with white space and escapes as nobody would write them. */
function jsonText(depth = 0): string {
  const space = () => pick(['', '', ' ', '\t', '  '])
  const escaped = (one: string) =>
    times(one.length, () => '').reduce(
      (text, _, at) => `${text}\\u${one.charCodeAt(at).toString(16).padStart(4, '0')}`,
      '',
    )
  const quoted = () => {
    const characters = [...words()].map((one) => (random.chance(0.2) ? escaped(one) : JSON.stringify(one).slice(1, -1)))
    return `"${characters.join('')}"`
  }
  const parts = (one: () => string) => times(below(4), () => `${space()}${one()}${space()}`).join(',')
  switch (below(depth > 3 ? 4 : 7)) {
    case 0:
      return numeral()
    case 1:
      return pick(['true', 'false', 'null'])
    case 2:
    case 3:
      return quoted()
    case 4:
      return `[${parts(() => jsonText(depth + 1))}]`
    default:
      return `{${parts(() => `${pick([quoted(), '"__proto__"', '"a"'])}${space()}:${space()}${jsonText(depth + 1)}`)}}`
  }
}

const lines = (values: readonly string[]): string => values.map((value) => `${value}\n`).join('')

async function published(args: readonly string[], input: string | Uint8Array): Promise<void> {
  const { code, stderr } = await hermes(['pub', ...args], { input })
  expect([code, stderr.includes('failure')], `seed ${seed}: ${stderr}`).toEqual([0, false])
}

/** Copies a topic by `sub --json | pub --json`. */
async function copied(from: string, to: string, ...args: string[]): Promise<void> {
  const { stdout } = await hermes(['sub', from, '--from', 'earliest', '--end', '--json'])
  await published([to, '--json', ...args], stdout)
}

test('JSON comes out as it was written', async () => {
  const values = times(many, jsonText)
  // (each is JSON, else the test would prove nothing)
  for (const value of values) JSON.parse(value)
  await published(['j', '--codec', 'json', '--batch', '64'], lines(values))
  expect(await place.read('j'), `seed ${seed}`).toEqual(values)
  await copied('j', 'j2', '--codec', 'json')
  expect(await place.read('j2'), `seed ${seed}`).toEqual(values)
})

test('text comes out as it was: by lines, and with line ends by --json', async () => {
  const one = times(many, () => words(20, /[\n\r]/))
  await published(['t'], lines(one))
  expect(await place.read('t'), `seed ${seed}`).toEqual(one)
  const any = times(many, () => words(20))
  await published(
    ['any', '--json', '--codec', 'text'],
    lines(any.map((value, at) => JSON.stringify({ sequence: at + 1, timestampNs: '1', value }))),
  )
  await copied('any', 'any2', '--codec', 'text')
  const found = await place.read('any2', '--json')
  expect(
    found.map((line) => (JSON.parse(line) as { value: string }).value),
    `seed ${seed}`,
  ).toEqual(any)
})

test('bytes come out as they were, in each writing', async () => {
  const bytes = times(many, () => Buffer.from(times(below(40), () => below(256))))
  for (const encoding of ['hex', 'base64'] as const) {
    const written = bytes.map((one) => one.toString(encoding))
    const topic = `r-${encoding}`
    await published([topic, '--codec', 'raw', '--encoding', encoding], lines(written))
    expect(await place.read(topic, '--encoding', encoding), `seed ${seed}`).toEqual(written)
    await copied(topic, `${topic}-2`, '--codec', 'raw')
    expect(await place.read(`${topic}-2`, '--encoding', encoding), `seed ${seed}`).toEqual(written)
  }
})

test('msgpack keeps a value, or refuses it', async () => {
  const values = times(many, jsonText)
  let kept = 0
  let refused = 0
  // As many programs as refusals: some are enough.
  for (let at = 0; at < values.length && refused < 12; ) {
    const topic = `m${at}`
    const { code, stderr } = await hermes(['pub', topic, '--codec', 'msgpack'], {
      input: lines(values.slice(at)),
    })
    const found = code === 0 || (await hermes(['info', topic])).code === 0 ? await place.read(topic) : []
    expect(
      found.map((line) => JSON.parse(line) as unknown),
      `seed ${seed}, from ${at}`,
    ).toEqual(values.slice(at, at + found.length).map((value) => JSON.parse(value) as unknown))
    kept += found.length
    at += found.length
    if (code === 0) continue
    expect([code, stderr], `seed ${seed}: ${values[at]}`).toEqual([
      7,
      expect.stringMatching(/can't be held exactly|__proto__|twice/),
    ])
    refused++
    at++
  }
  expect(kept).toBeGreaterThan(0)
})

test('replay of NDJSON keeps what was written', async () => {
  const values = times(many, () => `{"a":${jsonText()},"b":${jsonText()}}`)
  for (const value of values) JSON.parse(value)
  writeFileSync(join(place.folder, 'x.ndjson'), `${pick(['', '\ufeff'])}${values.join(pick(['\n', '\r\n', '\n\n']))}`)
  const { code, stderr } = await hermes(['replay', 'x.ndjson', 'n', '--speed', 'max'])
  expect([code, stderr.includes('[')], `seed ${seed}: ${stderr}`).toEqual([0, false])
  expect(await place.read('n'), `seed ${seed}`).toEqual(values)
})

/** RFC 4180, quoted only where it has to be, or for no reason. */
function cell(text: string): string {
  return /[",\n\r]/.test(text) || random.chance(0.3) || text !== text.trim() ? `"${text.replaceAll('"', '""')}"` : text
}

test('replay of CSV as json keeps each cell: a number only where nothing of it is lost', async () => {
  const columns = 4
  const rows = times(many, () =>
    times(columns, () =>
      pick([
        () => words(),
        () => words(),
        numeral,
        () => pick(['', 'true', 'false', '007', '-0', '+1', '1.50', 'NaN', 'Infinity', '0x10', '1_000']),
      ])(),
    ),
  )
  const end = pick(['\n', '\r\n'])
  const text = [['a', 'b', '__proto__', 'd'], ...rows].map((row) => row.map(cell).join(',')).join(end)
  writeFileSync(join(place.folder, 'x.csv'), `${text}${end}`)
  const { code, stderr } = await hermes(['replay', 'x.csv', 'c', '--speed', 'max', '--codec', 'json'])
  expect(code, `seed ${seed}: ${stderr}`).toBe(0)
  const found = await place.read('c')
  expect(found, `seed ${seed}`).toHaveLength(rows.length)
  for (const [index, line] of found.entries()) {
    const row = rows[index] as string[]
    const values = Object.values(JSON.parse(line) as object) as unknown[]
    expect(values, `seed ${seed}: ${line}`).toHaveLength(columns)
    for (const [column, value] of values.entries()) {
      const given = row[column] as string
      const where = `seed ${seed}: ${JSON.stringify(given)} became ${JSON.stringify(value)}`
      if (typeof value === 'string') expect(value, where).toBe(given)
      else if (value === null) expect(given, where).toBe('')
      else if (typeof value === 'boolean') expect(given.trim().toLowerCase(), where).toBe(String(value))
      else expect(isSameNumber(given.trim(), value as number), where).toBe(true)
    }
  }
})

/** Whether the nearest double stands for a numeral: not for an integer beyond 2^53, one that is too large or too small, or the sign of zero. */
function isSameNumber(numeral: string, value: number): boolean {
  if (!/^-?\d+(\.\d+)?(e[+-]?\d+)?$/i.test(numeral) || Number(numeral) !== value) return false
  if (value === 0) return !/[-1-9]/.test(numeral.split(/e/i)[0] as string)
  return !/^-?\d+$/.test(numeral) || BigInt(numeral) === BigInt(value)
}

test('replay of CSV into a struct keeps each cell of the layout that it infers', async () => {
  const kinds: Record<string, () => string> = {
    small: () => String(below(2 ** 31) * pick([1, -1])),
    large: () => pick(['', '-']) + String(BigInt(below(2 ** 31)) * BigInt(below(2 ** 31)) * 2n),
    unsigned: () => String(2n ** 63n + BigInt(below(2 ** 31))),
    real: () => pick(['', '-0', String((below(2 ** 31) - 2 ** 30) / 2 ** below(20))]),
    flag: () => pick(['true', 'false']),
    words: () => `w${words(12, /\0/)}`,
  }
  const rows = times(many, () => Object.values(kinds).map((make) => make()))
  const text = [Object.keys(kinds), ...rows].map((row) => row.map(cell).join(',')).join('\n')
  writeFileSync(join(place.folder, 's.csv'), `${text}\n`)
  const { code, stderr } = await hermes(['replay', 's.csv', 's', '--speed', 'max'])
  expect(code, `seed ${seed}: ${stderr}`).toBe(0)
  const found = (await place.read('s')).map((line) => Object.values(JSON.parse(line) as object) as unknown[])
  const asText = (value: unknown, column: number) =>
    value === null ? '' : column === 3 ? Number(value) : String(value)
  const expected = rows.map((row) => row.map((given, column) => (column === 3 && given !== '' ? Number(given) : given)))
  expect(
    found.map((row) => row.map(asText)),
    `seed ${seed}`,
  ).toEqual(expected)
})
