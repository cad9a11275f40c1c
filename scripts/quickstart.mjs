// npm run quickstart: sets a clone up, then runs examples/quickstart.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setup } from './lib/build.mjs'
import { fail } from './lib/log.mjs'
import { root } from './lib/run.mjs'

try {
  await setup()
} catch (error) {
  fail(error.message)
}
const program = ['build/js/examples/quickstart.js', 'examples/quickstart.mjs'].find((file) =>
  existsSync(join(root, file)),
)
if (program === undefined) fail('examples/quickstart is not in this clone')
const child = spawn(process.execPath, [program, ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' })
child.once('close', (code) => process.exit(code ?? 1))
