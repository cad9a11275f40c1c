// The shipped addon for ARM64 with glibc, in Node for ARM64 under emulation: the tarball is installed, and programs of users run from it. vitest
// itself can't run there, since its own parts are for the processor that it was installed on. What the examples print is compared with what they
// print here.
import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { need } from '../lib/apt.mjs'
import { ensureDist, ensureExamples } from '../lib/build.mjs'
import { ensureArmNode } from '../lib/nodes.mjs'
import { compileFixture, installPacked, pack } from '../lib/packed.mjs'
import { root, run } from '../lib/run.mjs'
import { countFaults, skip } from '../lib/suite.mjs'

/** Examples of one process: the emulator does not start others for us. With worker threads, logs, rings, sealed frames, codecs. */
const examples = [
  'pubsub',
  'batches',
  'replay',
  'validation',
  'durable',
  'worker-threads',
  'rings',
  'bring-your-own-transport',
]

/** Where the cross compiler's libraries are, in place of a root of an ARM64 machine. */
const libraries = '/usr/aarch64-linux-gnu'

/** Figures that depend on the machine or the day. */
const comparable = (output) => output.replace(/\d+/g, '#')

export const suite = {
  name: 'arm64-addon',
  timeoutMinutes: 10,
  async run({ log, print, timeoutMs }) {
    if (process.platform !== 'linux' || process.arch !== 'x64') return skip('this emulates ARM64 on Linux x64')
    const missing = await need('g++-aarch64', 'qemu-aarch64')
    if (missing !== undefined) return skip(missing)
    const node = await ensureArmNode()
    await ensureDist()
    await ensureExamples()
    const packed = await pack()
    const compiled = await compileFixture(packed, { log })
    const results = []
    const { folder, env: bare, remove } = await installPacked(packed.tarball)
    try {
      cpSync(compiled, join(folder, 'out'), { recursive: true })
      cpSync(join(root, 'build', 'js', 'examples'), join(folder, 'out', 'examples'), { recursive: true })
      const env = { ...bare, HERMES_NATIVE: 'prebuild' }
      const options = { cwd: folder, env, log, timeoutMs }
      const emulated = (...args) =>
        run('qemu-aarch64-static', ['-L', libraries, node, ...args], {
          ...options,
          env: { ...env, PATH: process.env.PATH },
        })
      const { output: machine } = await emulated('-p', 'process.arch')
      results.push({ name: 'Node is one for ARM64', fault: machine.trim() === 'arm64' ? undefined : machine })
      for (const program of ['out/addon.js', 'out/esm.js', 'out/cjs.cjs']) {
        const { code, output } = await emulated(program)
        results.push({ name: `${program} runs`, fault: code === 0 ? undefined : output.trim() })
      }
      for (const name of examples) {
        const program = join('out', 'examples', `${name}.js`)
        const [here, there] = [await run(process.execPath, [program], options), await emulated(program)]
        const same = here.code === 0 && there.code === 0 && comparable(here.output) === comparable(there.output)
        results.push({
          name: `${name} prints the same as here`,
          fault: same ? undefined : `${there.code}: ${there.output.trim()}`,
        })
      }
    } finally {
      remove()
    }
    return countFaults(results, print)
  },
}
