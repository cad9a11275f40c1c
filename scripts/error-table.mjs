// node scripts/error-table.mjs: writes the table of lib/cli/error-table.ts into docs/errors.md.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/run.mjs'

const { errorTableText } = await import('../dist/cli/error-table.js')
const file = join(root, 'docs', 'errors.md')
const page = readFileSync(file, 'utf8')
writeFileSync(
  file,
  page.replace(/^\| code \|.*\n(?:\|.*\n)+/m, () => `${errorTableText()}\n`),
)
