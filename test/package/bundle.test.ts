import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { build, type Plugin } from 'esbuild'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { crc32 } from '../../lib/index.js'

const root = join(import.meta.dirname, '../..')
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-bundle-'))
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/hermes-mq'))
  writeFileSync(
    join(folder, 'program.js'),
    `import { json, open } from 'hermes-mq'
     import { serve } from 'hermes-mq/broker'
     async function main() {
       const hermes = await open('./place')
       const publisher = await hermes.topic('t', { codec: json }).publisher()
       publisher.publish({ n: 1 })
       console.log(publisher.lastSequence, typeof serve)
       await hermes.close()
     }
     main()`,
  )
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** The optional peers are installed here for other tests; a user of brokers only does not have them. */
const withoutPeers: Plugin = {
  name: 'without peers',
  setup: ({ onResolve }) => {
    onResolve({ filter: /^@nats-io\// }, ({ path }) => ({ errors: [{ text: `Could not resolve "${path}"` }] }))
  },
}

async function bundled(format: 'esm' | 'cjs', external: string[], program = 'program.js', url = '') {
  const outfile = join(folder, 'out', `bundle.${format === 'esm' ? 'mjs' : 'cjs'}`)
  const entry = join(folder, program)
  await build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    format,
    external,
    plugins: [withoutPeers],
    logLevel: 'silent',
  })
  const child = spawn(process.execPath, [outfile], {
    cwd: folder,
    env: { ...process.env, HERMES_NATIVE: '', HERMES_URL: url },
  })
  const texts = [child.stdout, child.stderr].map((stream) => text(stream))
  const [status] = (await once(child, 'close')) as [number | null]
  const [stdout = '', stderr = ''] = await Promise.all(texts)
  return { status, stdout, stderr }
}

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
const canRequire = major > 20 || (major === 20 && minor >= 19)

test.each(['esm', 'cjs'] as const)('a bundle (%s) works with what docs/api.md marks as external', async (format) => {
  if (format === 'cjs' && !canRequire) return
  const { status, stdout } = await bundled(format, ['hermes-mq', 'hermes-mq/*'])
  expect([status, stdout]).toEqual([0, '1 function\n'])
})

test.each(['esm', 'cjs'] as const)('a bundle (%s) that has it inside says what to mark as external', async (format) => {
  const { status, stderr } = await bundled(format, [])
  expect(status).not.toBe(0)
  expect(stderr).toContain('NATIVE_UNAVAILABLE')
  expect(stderr).toContain('esbuild --external:hermes-mq --external:hermes-mq/*')
  expect(stderr).toContain('externals: [/^hermes-mq(\\/|$)/]')
})

test.each(['esm', 'cjs'] as const)('a bundle (%s) of a remote client has all that it needs', async (format) => {
  writeFileSync(
    join(folder, 'client.js'),
    `import { crc32, json, open, struct, u32 } from 'hermes-mq'
     async function main() {
       const hermes = await open(process.env.HERMES_URL, { compression: 'deflate' })
       const topic = hermes.topic('t', { codec: struct({ n: u32 }) })
       const publisher = await topic.publisher()
       for (let n = 0; n < 1000; n++) publisher.publish({ n })
       await publisher.flush()
       let sum = 0
       for await (const { value, sequence } of await topic.subscriber({ from: 'earliest' })) {
         sum += value.n
         if (sequence === 1000) break
       }
       console.log(sum, crc32(new Uint8Array(1000)), await open('./place').catch(({ code }) => code))
       await hermes.close()
     }
     main()`,
  )
  await using broker = await serve({ dir: join(folder, 'data'), port: 0 })
  const { status, stdout, stderr } = await bundled(format, [], 'client.js', broker.url)
  expect([status, stderr]).toEqual([0, ''])
  expect(stdout).toBe(`499500 ${crc32(new Uint8Array(1000))} NATIVE_UNAVAILABLE\n`)
})

test.each(['esm', 'cjs'] as const)(
  'a bundle (%s) with what needs the addon fails where that is used',
  async (format) => {
    writeFileSync(
      join(folder, 'uses.js'),
      `import mmap, { map } from 'hermes-mq/mmap'
     import { serve } from 'hermes-mq/broker'
     import { Oracle } from 'hermes-mq/testkit'
     async function main() {
       const fails = async (work) => {
         try {
           await work()
         } catch ({ code, message }) {
           const known = message.includes('esbuild --external:hermes-mq --external:hermes-mq/*')
           return console.log(code, known, message.slice(0, message.indexOf(' ')))
         }
         console.log('nothing was thrown')
       }
       console.log('imported', typeof map, typeof serve, typeof Oracle)
       await fails(() => mmap.map(4096, mmap.PROT_READ, mmap.MAP_SHARED, 0))
       await fails(() => map(mmap.PAGESIZE, 1, 1, 0))
       await fails(() => serve({ dir: './place', port: 0 }))
       console.log(new Oracle().constructor.name)
     }
     main()`,
    )
    const { status, stdout, stderr } = await bundled(format, [], 'uses.js')
    expect([status, stderr]).toEqual([0, ''])
    expect(stdout.split('\n')).toEqual([
      'imported function function function',
      'NATIVE_UNAVAILABLE true hermes-mq/mmap',
      'NATIVE_UNAVAILABLE true hermes-mq/mmap',
      'NATIVE_UNAVAILABLE true A',
      expect.stringContaining('Oracle'),
      '',
    ])
  },
)

/** What the modules of the package import at their top, from `entry` on: what has to be there for the package to be imported. */
async function staticImports(entry: string): Promise<{ modules: string[]; outside: string[] }> {
  const { metafile } = await build({
    entryPoints: [join(root, 'dist', entry)],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    outdir: folder,
    splitting: true,
    absWorkingDir: root,
  })
  const modules = new Set<string>()
  const outside = new Set<string>()
  const visit = (name: string) => {
    if (modules.has(name)) return
    modules.add(name)
    for (const { path, kind, external } of metafile.inputs[name]?.imports ?? []) {
      if (kind !== 'import-statement') continue
      if (external) outside.add(path)
      else visit(path)
    }
  }
  visit(`dist/${entry}`)
  return { modules: [...modules], outside: [...outside].sort() }
}

test('the package itself takes nothing of Node to be imported, and no addon', async () => {
  const { modules, outside } = await staticImports('index.js')
  expect(modules.length).toBeGreaterThan(50)
  expect(outside).toEqual(['@msgpack/msgpack'])
  expect(modules.filter((name) => /native\/addon|\/(local|store|broker|remote)\//.test(name))).toEqual([])
})

test('a remote placement takes nothing of Node but what its transport does', async () => {
  expect((await staticImports('placement/remote/open.js')).outside).toEqual([])
  expect((await staticImports('transport/tcp.js')).outside).toEqual(['node:net'])
  expect((await staticImports('transport/tls.js')).outside).toEqual(['node:tls'])
})
