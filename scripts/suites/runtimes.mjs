// Bun and Deno: the installed tarball, and the examples that run there. docs/platforms.md has the table. Not supported, but looked at.
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { ensureDist, ensureExamples } from '../lib/build.mjs'
import { compileFixture, installPacked, pack } from '../lib/packed.mjs'
import { ensurePackage } from '../lib/pinned.mjs'
import { root, run } from '../lib/run.mjs'
import { countFaults, skip } from '../lib/suite.mjs'

const runtimes = [
  {
    name: '@oven/bun-linux-x64',
    version: '1.4.5',
    integrity: 'sha512-IWX9BELoGHAUtMonkeSaNaZwXzRk+oDw6Mk+HBFXd3KHYIBNBsIGRupMZPcgNoDbJpLu6gAJjIoIVPZtt1aJ1g==',
    program: 'bin/bun',
    args: ['run'],
    // Bun ends by a segmentation fault in these: groups, and topics in worker threads.
    without: ['request-reply', 'worker-pool', 'worker-threads'],
  },
  {
    name: '@deno/linux-x64-glibc',
    version: '2.9.6',
    integrity: 'sha512-3md4TKLCuzsLDmfOoC5KN7NAZaxSVkMgm64vg6foD00JBADCpYS2/5QqXfzgnP5ZQz3iLP9vBQJtEgc116OAoQ==',
    program: 'deno',
    args: ['run', '--allow-all', '--no-prompt'],
    without: [],
  },
]

export const suite = {
  name: 'runtimes',
  timeoutMinutes: 10,
  async run(context) {
    if (process.platform !== 'linux' || process.arch !== 'x64') return skip('Bun and Deno are fetched for Linux x64')
    await ensureDist()
    await ensureExamples()
    const packed = await pack()
    const compiled = await compileFixture(packed, context)
    const { folder, env, remove } = await installPacked(packed.tarball)
    const results = []
    try {
      cpSync(compiled, join(folder, 'out'), { recursive: true })
      cpSync(join(root, 'build', 'js', 'examples'), join(folder, 'out', 'examples'), { recursive: true })
      const examples = readdirSync(join(folder, 'out', 'examples')).filter((name) => name.endsWith('.js'))
      const programs = ['esm.js', 'cjs.cjs', 'addon.js', ...examples.map((name) => `examples/${name}`)]
      for (const { program, args, without, ...pinned } of runtimes) {
        const runtime = join(await ensurePackage(pinned), program)
        for (const name of programs.filter((one) => !without.some((left) => one === `examples/${left}.js`))) {
          const options = {
            cwd: folder,
            env: { ...env, QUICKSTART_MESSAGES: '20000' },
            log: context.log,
            timeoutMs: 120_000,
          }
          const { code, output } = await run(runtime, [...args, `out/${name}`], options)
          results.push({
            name: `${pinned.name} ${pinned.version}: ${name} runs`,
            fault: code === 0 ? undefined : `it ended with ${code}: ${output.trim().split('\n').at(-1)}`,
          })
        }
      }
    } finally {
      remove()
    }
    return countFaults(results, context.print)
  },
}
