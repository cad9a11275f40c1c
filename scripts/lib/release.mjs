// What has to hold before a release is made.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, root as ownRoot } from './run.mjs'

const first = (text, pattern) => pattern.exec(text)?.[1]

/** The version as each file says it; CMake reads package.json. */
export function versionsOf(root = ownRoot) {
  const read = (...path) => readFileSync(join(root, ...path), 'utf8')
  const manifest = JSON.parse(read('package.json'))
  const lock = JSON.parse(read('package-lock.json'))
  return {
    'package.json': manifest.version,
    'package-lock.json': lock.version,
    'lib/base/version.ts': first(read('lib', 'base', 'version.ts'), /version = '([^']*)'/),
    'clients/python/pyproject.toml': first(read('clients', 'python', 'pyproject.toml'), /^version = "([^"]*)"/m),
    'clients/python/hermes_mq/version.py': first(
      read('clients', 'python', 'hermes_mq', 'version.py'),
      /^(?:__version__|VERSION)[^=]*= "([^"]*)"/m,
    ),
    // (It takes the numbers from package.json when it is configured.)
    'CMakeLists.txt': /^project\(hermes VERSION \$\{CMAKE_MATCH_1\}/m.test(read('CMakeLists.txt'))
      ? manifest.version
      : undefined,
    'CHANGELOG.md (its newest heading)': first(read('CHANGELOG.md'), /^## \[?v?([^\s\]]+)/m),
  }
}

function repositoryOf(root) {
  const { repository } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  return typeof repository === 'string' ? repository : repository?.url
}

/** Sentences, one for each reason not to release. A trial may have changes that are not committed, and no heading in the changelog yet. */
export async function releaseFaults({ root = ownRoot, isTrial = false, tag } = {}) {
  const faults = []
  const versions = versionsOf(root)
  const { 'package.json': version } = versions
  for (const [where, found] of Object.entries(versions))
    if (!(isTrial && found === 'Unreleased') && found !== version)
      faults.push(`${where} has version ${found ?? '(none)'}, and package.json has ${version}`)
  if (tag !== undefined && tag !== `v${version}`) faults.push(`the tag is ${tag}, and package.json has ${version}`)
  // A tag is published with provenance, which npm refuses to a package that does not name the repository it was built in.
  if (tag !== undefined && repositoryOf(root) === undefined)
    faults.push(
      "package.json has no 'repository': npm publishes with provenance only what names the repository of its workflow",
    )
  const { output } = await must('git', ['status', '--porcelain'], { cwd: root })
  const changed = output.split('\n').filter((line) => line !== '')
  if (changed.length > 0 && !isTrial)
    faults.push(`the clone is not clean: ${changed.slice(0, 5).join(', ')}${changed.length > 5 ? ', …' : ''}`)
  return faults
}
