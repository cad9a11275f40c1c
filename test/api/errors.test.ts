import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { errorTable, errorTableText } from '../../lib/cli/error-table.js'
import { errorCodes, HermesError } from '../../lib/index.js'
import { root } from '../helpers/folder.js'

const page = readFileSync(join(root, 'docs', 'errors.md'), 'utf8')

test('docs/errors.md has the table of errors that the program uses: each code, in the order of the list', () => {
  expect(page, 'run `node scripts/error-table.mjs`').toContain(`\n${errorTableText()}\n`)
  expect(Object.keys(errorTable)).toEqual([...errorCodes])
  for (const [code, { happened, remedy }] of Object.entries(errorTable)) {
    expect(happened.length, `what happened: ${code}`).toBeGreaterThan(10)
    expect(remedy.length, `what to do: ${code}`).toBeGreaterThan(10)
  }
})

test('every code that the native core names is one of the list', () => {
  const source = readFileSync(join(root, 'native', 'core', 'status.cc'), 'utf8')
  const named = [...source.matchAll(/case Code::(k\w+):\s+return "([A-Z_]+)"/g)]
  const declared = readFileSync(join(root, 'native', 'core', 'status.h'), 'utf8')
  const members = [...declared.matchAll(/^ {2}(k[A-Z]\w+)(?: = 0)?,$/gm)].map((match) => match[1])
  expect(named.map((match) => match[1])).toEqual(members)
  const codes: readonly string[] = ['OK', ...errorCodes]
  expect(named.map((match) => match[2]!).filter((code) => !codes.includes(code))).toEqual([])
  expect(named.length).toBeGreaterThan(15)
})

test('a HermesError has a name, a code, details and a cause', () => {
  const cause = new Error('below')
  const error = new HermesError('BUSY', 'It is in use.', { cause, details: { topic: 'a' } })
  expect(error).toBeInstanceOf(Error)
  expect(error).toMatchObject({
    name: 'HermesError',
    code: 'BUSY',
    message: 'It is in use.',
    details: { topic: 'a' },
    cause,
  })
  expect(new HermesError('BUSY', 'x')).toMatchObject({ details: {} })
  expect('cause' in new HermesError('BUSY', 'x')).toBe(false)
  expect(new Set(errorCodes).size).toBe(errorCodes.length)
})
