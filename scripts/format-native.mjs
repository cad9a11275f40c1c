// npm run format: lays out every C++ file with clang-format. With --check it changes nothing and fails on a difference.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { need } from './lib/apt.mjs'
import { fail, say } from './lib/log.mjs'
import { root, run } from './lib/run.mjs'

const missing = await need('clang-format')
if (missing !== undefined) fail(missing)
const files = readdirSync(join(root, 'native'), { recursive: true })
  .filter((name) => /\.(h|cc)$/.test(name))
  .map((name) => join('native', name))
const check = process.argv.includes('--check')
const { code } = await run('clang-format', [...(check ? ['--dry-run', '--Werror'] : ['-i']), ...files], { show: true })
if (code !== 0) fail(check ? 'run: npm run format' : 'clang-format failed')
say(`${files.length} C++ files ${check ? 'are laid out as agreed' : 'laid out'}`)
