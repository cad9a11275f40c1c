import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'

const root = join(import.meta.dirname, '../..')
const runFile = promisify(execFile)
const newFolder = foldersPerTest()
const { buildExamplePackage, examplePackages } = (await import(
  pathToFileURL(join(root, 'scripts/lib/example-packages.mjs')).href
)) as { buildExamplePackage(name: string): Promise<string>; examplePackages: string[] }

/** What each prints. */
const outputs: Record<string, string> = {
  nestjs: `2 + 3 = 5
The handler of 'sums' failed: there is nothing to add
order 7 of Ada shipped at attempt 2
the application has ended
`,
  fastify: `posted: 201 201
refused: 400
a browser reads:
  1 BTC 50000
  2 ETH 2500.5
it comes again, and goes on:
  3 SOL 140.25
the server has ended
`,
}

test('every example that is a package is run here', () => {
  const folders = readdirSync(join(root, 'examples'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
  const packages = folders
    .map(({ name }) => name)
    .filter((name) => existsSync(join(root, 'examples', name, 'package.json')))
  expect(packages).toEqual(examplePackages)
  expect(packages).toEqual(Object.keys(outputs).sort())
})

describe.each(examplePackages)('%s', (name) => {
  test('is installed, compiled and run, says what it should, and leaves nothing behind', {
    timeout: 240_000,
  }, async () => {
    const program = await buildExamplePackage(name)
    const temporary = join(newFolder(), 'tmp')
    mkdirSync(temporary)
    const { stdout } = await runFile(process.execPath, [program], {
      timeout: 60_000,
      env: { ...process.env, TMPDIR: temporary, NO_COLOR: '1' },
    })
    expect(stdout).toBe(outputs[name])
    expect(readdirSync(temporary)).toEqual([])
  })

  test('asks for a hermes-mq that this one is', () => {
    const read = (...path: string[]) => JSON.parse(readFileSync(join(root, ...path), 'utf8'))
    const [, wanted = ''] =
      /^>=(\d+\.\d+\.\d+)$/.exec(read('examples', name, 'package.json').peerDependencies['hermes-mq']) ?? []
    const numbers = (version: string) => version.split(/[.-]/).slice(0, 3).map(Number)
    const [at, from] = [numbers(read('package.json').version), numbers(wanted)]
    expect(at.join('.').localeCompare(from.join('.'), undefined, { numeric: true })).toBeGreaterThanOrEqual(0)
  })
})
