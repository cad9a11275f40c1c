// npm run bench: sets the clone up, then measures. Options go to bench/main.ts: npm run bench -- --help
import { spawn } from 'node:child_process'
import { setup } from './lib/build.mjs'
import { fail } from './lib/log.mjs'
import { root } from './lib/run.mjs'

// Results alone go to stdout: with --json a program parses it.
console.log = console.error
try {
  await setup()
} catch (error) {
  fail(error.message)
}
const args = ['--enable-source-maps', 'build/js/bench/main.js', ...process.argv.slice(2)]
const child = spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
child.once('close', (code) => process.exit(code ?? 1))
