// Both builds take their files from native/sources.txt: a file that is missing there would be tested by neither.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { readList } from '../lib/list-lines.mjs'
import { root } from '../lib/run.mjs'
import { countFaults } from '../lib/suite.mjs'

export const suite = {
  name: 'sources',
  timeoutMinutes: 1,
  async run({ print }) {
    const listed = readList(join(root, 'native', 'sources.txt'))
    const present = ['core', 'binding'].flatMap((part) =>
      readdirSync(join(root, 'native', part), { recursive: true })
        .filter((name) => name.endsWith('.cc'))
        .map((name) => `${part}/${name}`),
    )
    const gone = listed.filter((file) => !existsSync(join(root, 'native', file)))
    const unlisted = present.filter((file) => !listed.includes(file))
    const twice = listed.filter((file, index) => listed.indexOf(file) !== index)
    return countFaults(
      [
        { name: 'every file in native/sources.txt exists', fault: gone.join(', ') || undefined },
        { name: 'every C++ file of the core and the binding is listed', fault: unlisted.join(', ') || undefined },
        { name: 'no file is listed twice', fault: twice.join(', ') || undefined },
      ],
      print,
    )
  },
}
