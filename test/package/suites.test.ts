import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

// The test runner's own parts: what must never count as passed.

interface Counts {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly reason?: string
}
interface Suite {
  readonly timeoutMinutes: number
  readonly present?: () => boolean
  readonly run: () => Promise<Counts>
}
interface SuiteModule {
  runSuite(suite: Suite, log: string): Promise<Counts | undefined>
  countLines(result: { output: string; code: number | null }): Counts
  countGoogleTest(file: string, result: { code: number | null }): Counts
}
interface RunModule {
  run(
    program: string,
    args: string[],
    options?: object,
  ): Promise<{ code: number | null; output: string; timedOut: boolean }>
}
interface ElfModule {
  inspect(file: string): { needed: string[]; glibc: string; glibcxx: boolean }
  newerThan(version: string, limit: string): boolean
}

const scripts = join(import.meta.dirname, '../../scripts/lib')
const load = (name: string): Promise<unknown> => import(pathToFileURL(join(scripts, name)).href)
const { runSuite, countLines, countGoogleTest } = (await load('suite.mjs')) as SuiteModule
const { run } = (await load('run.mjs')) as RunModule
const { inspect, newerThan } = (await load('elf.mjs')) as ElfModule

let folder: string
let log: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hermes-suites-'))
  log = join(folder, 'log')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('counts a suite that crashes as failed, and keeps the reason', async () => {
  const suite = { timeoutMinutes: 1, run: () => Promise.reject(new Error('out of luck')) }
  expect(await runSuite(suite, log)).toEqual({ passed: 0, failed: 1, skipped: 0, reason: 'out of luck' })
  expect(readFileSync(log, 'utf8')).toContain('out of luck')
})

test('counts a suite that found no tests as failed', async () => {
  const suite = { timeoutMinutes: 1, run: async () => ({ passed: 0, failed: 0, skipped: 0 }) }
  expect(await runSuite(suite, log)).toMatchObject({ failed: 1, reason: 'found no tests' })
})

test('leaves out a suite that this clone does not have', async () => {
  const suite = { timeoutMinutes: 1, present: () => false, run: () => Promise.reject(new Error('ran')) }
  expect(await runSuite(suite, log)).toBeUndefined()
})

test('counts lines, and a failing exit code without a failing line as one failure', () => {
  const output = 'ok one\nnot ok two\nskip three\nokay is no verdict\n'
  expect(countLines({ output, code: 1 })).toEqual({ passed: 1, failed: 1, skipped: 1 })
  expect(countLines({ output: 'ok one\n', code: 139 })).toEqual({ passed: 1, failed: 1, skipped: 0 })
  expect(countLines({ output: 'ok one\n', code: null })).toMatchObject({ failed: 1 })
})

test('takes the counts that a shell suite gives itself, but not against its exit code', () => {
  const output = 'ok one\n20 passed, 8 failed, 1 skipped\n'
  expect(countLines({ output, code: 1 })).toEqual({ passed: 20, failed: 8, skipped: 1 })
  expect(countLines({ output: '3 passed, 0 failed, 0 skipped\n', code: 1 })).toMatchObject({ passed: 3, failed: 1 })
})

test('counts a native test program that died before its report as failed', () => {
  expect(countGoogleTest(join(folder, 'none.json'), { code: null })).toMatchObject({ passed: 0, failed: 1 })
})

test('counts a native report, and a failing exit code after it', () => {
  const report = join(folder, 'report.json')
  const cases = [
    { status: 'RUN', result: 'COMPLETED' },
    { status: 'RUN', result: 'COMPLETED', failures: [{}] },
    { status: 'RUN', result: 'SKIPPED' },
    { status: 'NOTRUN', result: 'SUPPRESSED' },
  ]
  writeFileSync(report, JSON.stringify({ testsuites: [{ testsuite: cases }] }))
  expect(countGoogleTest(report, { code: 1 })).toEqual({ passed: 1, failed: 1, skipped: 2 })
  writeFileSync(report, JSON.stringify({ testsuites: [{ testsuite: cases.slice(0, 1) }] }))
  expect(countGoogleTest(report, { code: 66 })).toMatchObject({ passed: 1, failed: 1 })
})

/** Whether a process still runs. One that ended stays a zombie until its parent looks, which may be never. */
function runs(pid: number): boolean {
  const stat = `/proc/${pid}/stat`
  return existsSync(stat) && !/\) Z /.test(readFileSync(stat, 'utf8'))
}

test.runIf(process.platform === 'linux')('kills a program that runs out of time, with what it started', async () => {
  const { timedOut, output } = await run('sh', ['-c', 'sleep 60 & echo $!; wait'], { timeoutMs: 300 })
  expect(timedOut).toBe(true)
  expect(Number(output)).toBeGreaterThan(0)
  await expect.poll(() => runs(Number(output))).toBe(false)
})

test('reports a program that does not exist', async () => {
  expect(await run('/no/such/program', [])).toMatchObject({ code: 127, output: expect.stringContaining('ENOENT') })
})

test.runIf(process.platform === 'linux')('reads what a program asks of its machine', () => {
  const { needed, glibc } = inspect(process.execPath)
  expect(needed).toContain('libc.so.6')
  expect(newerThan(glibc, '2.2')).toBe(true)
})

test('orders versions by number', () => {
  expect(newerThan('2.4', '2.31')).toBe(false)
  expect(newerThan('2.34', '2.31')).toBe(true)
  expect(newerThan('2.31', '2.31')).toBe(false)
  expect(newerThan('2.31.1', '2.31')).toBe(true)
})
