import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { root } from '../helpers/folder.js'

interface File {
  readonly name: string
  readonly lines: number
  readonly imports: readonly string[]
}

const { arrowsOf, circlesOf, circlesOfFiles, readHouse, roomOf } = (await import(
  pathToFileURL(join(root, 'scripts/lib/rooms.mjs')).href
)) as {
  arrowsOf(house: readonly File[]): { from: string; to: string; files: string[] }[]
  circlesOf(next: ReadonlyMap<string, readonly string[]>): string[][]
  circlesOfFiles(house: readonly File[]): string[][]
  readHouse(lib: string): File[]
  roomOf(file: string): string
}

/** From the ground up. A room imports from floors below its own only, so not from its neighbours. */
const floors: readonly (readonly string[])[] = [
  ['base'],
  ['frame'],
  ['codec'],
  ['model'],
  ['metrics', 'native'],
  ['ring', 'store', 'transport', 'wire'],
  ['placement'],
  ['placement/local', 'placement/remote', 'placement/ring'],
  ['placement/nats'],
  ['client', 'broker/engine'],
  ['broker', 'otel', 'testkit', '.'],
  ['admin'],
  ['cli'],
]

/** No file has more lines than these, but for those that docs/decisions/0011-the-house.md names. */
const mostLines = 400
const decision = 'docs/decisions/0011-the-house.md'

const house = readHouse(join(root, 'lib'))
const floorOf = (room: string): number => floors.findIndex((rooms) => rooms.includes(room))

test('every room of lib/ has its place in the plan, and every place its room', () => {
  const rooms = new Set(house.map(({ name }) => roomOf(name)))
  expect([...rooms].sort()).toEqual(floors.flat().sort())
})

test('arrows between rooms run down only', () => {
  const wrong = arrowsOf(house).filter(({ from, to }) => floorOf(from) <= floorOf(to))
  expect(wrong.flatMap(({ files }) => files)).toEqual([])
  // (else nothing was read)
  expect(arrowsOf(house).length).toBeGreaterThan(50)
})

test('what stands above the placements uses the addon through store/ and placement/, not by itself', () => {
  const users = house.filter(({ imports }) => imports.includes('native/addon.ts')).map(({ name }) => roomOf(name))
  expect(users.filter((room) => ['client', 'broker', 'admin', 'cli'].includes(room))).toEqual([])
  // (else nothing was read)
  expect(users).toContain('store')
})

test('no files import each other in a circle', () => {
  expect(circlesOfFiles(house)).toEqual([])
  const circle = new Map([
    ['a', ['b']],
    ['b', ['c', 'd']],
    ['c', ['a']],
    ['d', []],
  ])
  expect(circlesOf(circle)).toEqual([['a', 'b', 'c']])
})

test('files are small, or a decision says why they are not', () => {
  const native = ['core', 'binding'].flatMap((folder) =>
    readdirSync(join(root, 'native', folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(h|cc)$/.test(name))
      .map((name) => join('native', folder, name)),
  )
  const python = readdirSync(join(root, 'clients/python/hermes_mq'))
    .filter((name) => name.endsWith('.py'))
    .map((name) => join('clients/python/hermes_mq', name))
  // (else nothing was read)
  expect(Math.min(house.length, native.length, python.length)).toBeGreaterThan(20)
  const files = [...house.map(({ name }) => join('lib', name)), ...native, ...python]
  const linesOf = (name: string) => readFileSync(join(root, name), 'utf8').split('\n').length - 1
  const tall = files.filter((name) => linesOf(name) > mostLines)
  const text = readFileSync(join(root, decision), 'utf8')
  expect(tall.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
})
