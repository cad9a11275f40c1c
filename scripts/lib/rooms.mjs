// The house as its files say it is: which room of lib/ imports from which. test/lint/rooms.test.ts compares it with the plan.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

/** These have rooms of their own in them. */
const wings = new Set(['broker', 'placement', 'transport'])

/** The room of a file of lib/, by its path there: its folder, of which the second level counts in a wing; `.` is lib/ itself. */
export function roomOf(file) {
  const [first, second, third] = file.split('/')
  if (second === undefined) return '.'
  return wings.has(first) && third !== undefined ? `${first}/${second}` : first
}

/** Each file below `lib` with its lines and the files of `lib` that it imports, types as well. */
export function readHouse(lib) {
  const names = readdirSync(lib, { recursive: true }).filter((name) => name.endsWith('.ts'))
  return names.sort().map((name) => {
    const text = readFileSync(join(lib, name), 'utf8')
    const imports = new Set()
    for (const [, path] of text.matchAll(/\b(?:from|import)\s*\(?\s*'(\.{1,2}\/[^']+)\.js'/g))
      imports.add(normalize(join(dirname(name), `${path}.ts`)))
    return { name, lines: text.split('\n').length - 1, imports: [...imports] }
  })
}

/** From room to room, with the files that make the arrow. */
export function arrowsOf(house) {
  const arrows = new Map()
  for (const { name, imports } of house) {
    for (const target of imports) {
      const [from, to] = [roomOf(name), roomOf(target)]
      if (from === to) continue
      const key = `${from} -> ${to}`
      const arrow = arrows.get(key) ?? { from, to, files: [] }
      arrow.files.push(`${name} -> ${target}`)
      arrows.set(key, arrow)
    }
  }
  return [...arrows.values()]
}

/** Circles: sets of names that reach each other (Tarjan's algorithm). `next` is a map of each name to those that it points to. */
export function circlesOf(next) {
  const circles = []
  const stack = []
  const seen = new Map()
  const visit = (name) => {
    const own = { index: seen.size, low: seen.size, open: true }
    seen.set(name, own)
    stack.push(name)
    for (const target of next.get(name) ?? []) {
      const other = seen.get(target) ?? visit(target)
      if (other.open) own.low = Math.min(own.low, other.low)
    }
    if (own.low === own.index) {
      const circle = stack.splice(stack.indexOf(name))
      for (const one of circle) seen.get(one).open = false
      if (circle.length > 1) circles.push(circle.sort())
    }
    return own
  }
  for (const name of next.keys()) if (!seen.has(name)) visit(name)
  return circles
}

export function circlesOfFiles(house) {
  return circlesOf(new Map(house.map(({ name, imports }) => [name, imports])))
}

export function circlesOfRooms(house) {
  const next = new Map(house.map(({ name }) => [roomOf(name), []]))
  for (const { from, to } of arrowsOf(house)) next.get(from).push(to)
  return circlesOf(next)
}

/** How many rooms stand on one another: the longest way down. Rooms of one circle stand on one floor. */
export function floorsOf(house) {
  const circles = circlesOfRooms(house)
  const groupOf = (room) => circles.find((circle) => circle.includes(room))?.join(' ') ?? room
  const below = new Map(house.map(({ name }) => [groupOf(roomOf(name)), new Set()]))
  for (const { from, to } of arrowsOf(house))
    if (groupOf(from) !== groupOf(to)) below.get(groupOf(from)).add(groupOf(to))
  const heights = new Map()
  const height = (group) => {
    if (!heights.has(group)) heights.set(group, 1 + Math.max(0, ...[...below.get(group)].map(height)))
    return heights.get(group)
  }
  return Math.max(...[...below.keys()].map(height))
}
