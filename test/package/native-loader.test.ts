import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterEach, beforeEach, expect, test } from 'vitest'
// @ts-expect-error a script without types
import { platformName } from '../../scripts/lib/build.mjs'

const root = join(import.meta.dirname, '../..')

/** A package of nothing but the compiled loader, in a folder of its own. */
let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-loader-'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module", "name": "hermes-mq" }')
  for (const name of [
    'native/addon.js',
    'native/load.js',
    'native/platform.js',
    'native/scratch.js',
    'frame/run-scratch.js',
    'base/errors.js',
    'base/node.js',
  ]) {
    cpSync(join(root, 'dist', name), join(folder, 'dist', name))
  }
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** `pretend` is run before the loader: it can change what the machine seems to be. */
function load(
  choice: string,
  at = folder,
  pretend = '',
): { output: string; code: string; message: string; tried: string[] } {
  const program = `
    ${pretend}
    import(${JSON.stringify(join(at, 'dist/native/addon.js'))})
      .then(({ native }) => console.log(JSON.stringify({ output: 'napi ' + native.napiVersion })))
      .catch(({ code, message, details }) => console.log(JSON.stringify({ code, message, tried: details?.tried })))`
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
  expect(tried[1]).toBe(join(folder, 'prebuilds', `hermes-${platformName()}.node`))
  expect(message).toContain('install the package anew')
  expect(message).toContain('npm run build:native')
})

const machines = [
  ['linux', 'x64', '{ glibcVersionRuntime: "2.36" }', 'linux-x64-glibc'],
  ['linux', 'arm64', '{ glibcVersionRuntime: "2.36" }', 'linux-arm64-glibc'],
  ['linux', 'x64', '{}', 'linux-x64-musl'],
  ['linux', 'arm64', '{}', 'linux-arm64-musl'],
  ['darwin', 'arm64', '{}', 'darwin-arm64'],
]

test.each(machines)('on %s %s with %s, looks for the addon of %s', (platform, arch, header, name) => {
  const pretend = `
    Object.defineProperty(process, 'platform', { value: '${platform}' })
    Object.defineProperty(process, 'arch', { value: '${arch}' })
    process.report.getReport = () => ({ header: ${header} })`
  expect(load('prebuild', folder, pretend).tried).toEqual([join(folder, 'prebuilds', `hermes-${name}.node`)])
})

test('says for which machines there are prebuilt addons where there is none for this one', () => {
  mkdirSync(join(folder, 'prebuilds'))
  for (const name of ['hermes-linux-x64-glibc.node', 'hermes-linux-x64-musl.node', 'manifest.json']) {
    writeFileSync(join(folder, 'prebuilds', name), '')
  }
  const pretend = "Object.defineProperty(process, 'arch', { value: 'riscv64' })"
  expect(load('', folder, pretend).message).toContain('Prebuilt addons are there for linux-x64-glibc, linux-x64-musl.')
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
  const committed = join(root, 'prebuilds', `hermes-${platformName()}.node`)
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

/** Runs a program that imports the package as a whole. */
function runProgram(program: string, choice: string): { stdout: string; stderr: string } {
  const source = `import * as hermes from ${JSON.stringify(join(root, 'dist/index.js'))}\n${program}`
  const env = { ...process.env, HERMES_NATIVE: choice }
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    env,
    encoding: 'utf8',
  })
  return { stdout, stderr }
}

const portable = `
  const bytes = new TextEncoder().encode('123456789'.repeat(100))
  const encoder = new hermes.Encoder(hermes.text)
  encoder.encode('as everywhere')
  const [message] = [...new hermes.Decoder(hermes.text).messages(encoder.bytes)]
  const code = await hermes.open('/tmp/hermes-never-made').catch(({ code }) => code)
  console.log(hermes.crc32(bytes).toString(16), message.value, code)`

test('the package can be imported without an addon, and codecs work', () => {
  const { stdout, stderr } = runProgram(portable, 'none')
  expect(stderr).toBe('')
  expect(stdout).toMatch(/^[0-9a-f]+ as everywhere NATIVE_UNAVAILABLE\n$/)
  expect(stdout.split(' ')[0]).toBe(crc32('123456789'.repeat(100)).toString(16))
})

test('an addon that is named and can not be used is told as a warning, and the rest works', () => {
  const { stdout, stderr } = runProgram(portable, '/no/such/addon.node')
  expect(stdout).toContain('as everywhere NATIVE_UNAVAILABLE')
  expect(stderr).toContain('[NATIVE_UNAVAILABLE] Warning: hermes-mq works without its addon')
  expect(stderr.match(/works without its addon/g)).toHaveLength(1)
  expect(stderr).toContain('/no/such/addon.node')
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
