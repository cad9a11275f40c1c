import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { Broker } from '../../lib/broker/broker.js'
import { defaultLimits } from '../../lib/broker/index.js'

const read = (file: string) => readFileSync(join(import.meta.dirname, '../..', file), 'utf8')
const section = read('docs/api.md').split('## Serving: `hermes-mq/broker`')[1]?.split('\n## ')[0] ?? ''

/** The first two cells of each row of the table that begins with `head`: names, without types, and what stands beside them. */
function table(head: string): Map<string, string> {
  const [, text = ''] = section.split(`\n| \`${head}\` |`)
  const rows = text.split('\n\n')[0]?.split('\n').slice(2) ?? []
  const cells = rows.map((row) => row.split('|').map((cell) => cell.trim()))
  return new Map(
    cells.flatMap(([, names = '', beside = '']) =>
      [...names.matchAll(/`(\w+)/g)].map(([, name = '']) => [name, beside] as [string, string]),
    ),
  )
}

/** The fields of an interface of lib/broker/. */
function fields(file: string, name: string): string[] {
  const [, body = ''] = new RegExp(`export interface ${name} \\{\\n([\\s\\S]*?)\\n\\}`).exec(read(file)) ?? []
  return [...body.matchAll(/^ {2}readonly (\w+)/gm)].map(([, field = '']) => field)
}

test('docs/api.md has every limit of a broker, with its default', () => {
  const wanted = Object.entries(defaultLimits).map(([name, value]) => [name, String(value)])
  expect(wanted.length).toBeGreaterThan(15)
  expect([...table('BrokerLimits')]).toEqual(wanted)
})

test.each([
  ['BrokerOptions', 'lib/broker/options.ts', 13],
  ['AccessEntry', 'lib/broker/access.ts', 9],
])('docs/api.md has every field of %s', (name, file, count) => {
  const wanted = fields(file, name)
  expect(wanted).toHaveLength(count)
  expect([...table(name).keys()].sort()).toEqual(wanted.sort())
})

// (serve() calls listen().)
test('docs/api.md has every member of Broker, and all that hermes-mq/broker exports', () => {
  const members = Object.getOwnPropertyNames(Broker.prototype).filter(
    (name) => !['constructor', 'listen'].includes(name),
  )
  const rows = table('Broker')
  expect(members.filter((name) => !rows.has(name))).toEqual([])
  const exported = [...read('lib/broker/index.ts').matchAll(/[{,] (?:type )?(\w+)(?=[ ,])/g)].map(([, name]) => name)
  expect(exported.length).toBeGreaterThanOrEqual(7)
  for (const name of exported) expect(section).toMatch(new RegExp(`\\b${name}\\b`))
})
