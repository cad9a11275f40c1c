import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

/** A package of nothing but the compiled loader, in a folder of its own. */
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-loader-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  for (const name of ['native/addon.js', 'native/scratch.js', 'base/errors.js']) {
    cpSync(join(root, 'dist', name), join(folder, 'dist', name))
  }
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

function load(choice: string, at = folder): { output: string; code: string; message: string; tried: string[] } {
  const program = `
    import(${JSON.stringify(join(at, 'dist/native/addon.js'))}).then(
      ({ native }) => console.log(JSON.stringify({ output: 'napi ' + native.napiVersion })),
      ({ code, message, details }) => console.log(JSON.stringify({ code, message, tried: details?.tried })),
    )`
  const env = { ...process.env, HERMES_NATIVE: choice }
  const { stdout, stderr } = spawnSync(process.execPath, ['-e', program], { env, encoding: 'utf8' })
  expect(stderr).toBe('')
  return JSON.parse(stdout) as ReturnType<typeof load>
}

test('loads the addon of this clone', () => {
  expect(load('', root).output).toBe('napi 9')
})

test('names every file tried and the command to build from source when there is no addon', () => {
  const { code, message, tried } = load('')
  expect(code).toBe('NATIVE_UNAVAILABLE')
  expect(tried).toHaveLength(2)
  for (const file of tried) expect(message).toContain(file)
  expect(tried[0]).toBe(join(folder, 'build/Release/hermes.node'))
  expect(tried[1]).toContain(join(folder, 'prebuilds', `${process.platform}-${process.arch}`))
  expect(message).toContain('npm run build:native')
})

test('tries only what HERMES_NATIVE names', () => {
  expect(load('build').tried).toEqual([join(folder, 'build/Release/hermes.node')])
  expect(load('prebuild').tried).toHaveLength(1)
  expect(load('/no/such/addon.node').tried).toEqual(['/no/such/addon.node'])
})

test('reports an addon that does not load instead of passing over it', () => {
  mkdirSync(join(folder, 'build/Release'), { recursive: true })
  const broken = join(folder, 'build/Release/hermes.node')
  writeFileSync(broken, 'not a shared object')
  const { code, message } = load('')
  expect(code).toBe('NATIVE_UNAVAILABLE')
  expect(message).toContain(`${broken} does not load`)
})

test('refuses an addon whose scratch memory is laid out otherwise than these files say', () => {
  const own = JSON.stringify(join(folder, 'own.node'))
  const written = (name: string, change: string) => {
    const file = join(folder, name)
    writeFileSync(
      file,
      `const addon = require(${own}); const { scratch } = addon.constants; ${change}; module.exports = addon`,
    )
    return file
  }
  const built = join(root, 'build/Release/hermes.node')
  const committed = join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'hermes.node')
  cpSync(existsSync(built) ? built : committed, join(folder, 'own.node'))
  expect(load(written('same.cjs', '')).output).toBe('napi 9')
  for (const [name, change, said] of [
    ['moved.cjs', 'scratch.scan.end = 16', 'scan.end is at 12 here and at 16 in the addon'],
    ['more.cjs', 'scratch.append.flags = 40', 'append.flags is at no offset here and at 40 in the addon'],
    ['fewer.cjs', 'delete scratch.seal', 'seal.offset is at 0 here and at no offset in the addon'],
    ['old.cjs', 'addon.constants = {}', 'append.length is at 0 here and at no offset in the addon'],
  ] as const) {
    const { code, message } = load(written(name, change))
    expect(code).toBe('NATIVE_UNAVAILABLE')
    expect(message).toContain(`${join(folder, name)} does not load: it is of another version of hermes-mq: ${said}`)
    expect(message).toContain('npm run build:native')
  }
})

test('loads in two worker threads and survives their end', () => {
  const worker = `import(${JSON.stringify(join(root, 'dist/native/addon.js'))}).then(({ native }) =>
    require('node:worker_threads').parentPort.postMessage(native.napiVersion))`
  const program = `
    const { Worker } = require('node:worker_threads')
    const start = () => new Promise((done, failed) => {
      let answer
      const worker = new Worker(${JSON.stringify(worker)}, { eval: true })
      worker.once('message', (value) => { answer = value })
      worker.once('error', failed)
      worker.once('exit', () => done(answer))
    })
    Promise.all([start(), start()]).then(async (first) => console.log([...first, await start()].join(' ')))`
  const { stdout, status } = spawnSync(process.execPath, ['-e', program], { encoding: 'utf8' })
  expect(stdout).toBe('9 9 9\n')
  expect(status).toBe(0)
})
