// node scripts/rooms.mjs [lib]: rooms, floors, arrows and circles of lib/, or of another folder of TypeScript files.
import { join } from 'node:path'
import { arrowsOf, circlesOfFiles, circlesOfRooms, floorsOf, readHouse, roomOf } from './lib/rooms.mjs'
import { root } from './lib/run.mjs'

const house = readHouse(process.argv[2] ?? join(root, 'lib'))
const rooms = new Set(house.map(({ name }) => roomOf(name)))
const arrows = arrowsOf(house)
for (const { from, to, files } of arrows.sort((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1)))
  console.log(`${from} -> ${to} (${files.length})`)
const tall = house.filter(({ lines }) => lines > 400).map(({ name, lines }) => `${name} (${lines})`)
console.log(
  `${house.length} files in ${rooms.size} rooms on ${floorsOf(house)} floors, ${arrows.length} arrows between rooms`,
)
console.log(
  `circles of rooms: ${
    circlesOfRooms(house)
      .map((one) => one.join(', '))
      .join('; ') || 'none'
  }`,
)
console.log(
  `circles of files: ${
    circlesOfFiles(house)
      .map((one) => one.join(', '))
      .join('; ') || 'none'
  }`,
)
console.log(`above 400 lines: ${tall.join(', ') || 'none'}`)
