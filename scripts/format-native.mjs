// npm run format: lays out every C++ file with clang-format, of the version that package.json pins: another breaks lines
// elsewhere. With --check it changes nothing and fails on a difference.

import { clangFormat, nativeSources } from './lib/format.mjs'
import { fail, say } from './lib/log.mjs'
import { root, run } from './lib/run.mjs'

const check = process.argv.includes('--check')
const files = nativeSources(root)
const { code } = await run(clangFormat, [...(check ? ['--dry-run', '--Werror'] : ['-i']), ...files], { show: true })
if (code !== 0) fail(check ? 'run: npm run format' : 'clang-format failed')
say(`${files.length} C++ files ${check ? 'are laid out as agreed' : 'laid out'}`)
