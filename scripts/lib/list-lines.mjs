// Prints the entries of a list file for binding.gyp, each behind a prefix. Blank lines and `#` comments don't count.
import { readFileSync } from 'node:fs'

export function readList(file) {
  return readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
}

if (process.argv[1] === import.meta.filename) {
  const [file, prefix = ''] = process.argv.slice(2)
  for (const entry of readList(file)) console.log(prefix + entry)
}
