// Packs the package, and installs the tarball as a user would: in an empty folder, without install scripts, and
// without a compiler, make or Python on PATH.
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { must, root, which } from './run.mjs'

/** Resolves with `{ tarball, files, bytes, unpackedBytes }`; `files` are the paths in it. */
export async function pack() {
  const folder = join(root, 'build', 'package')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const { output } = await must('npm', [
    'pack',
    '--json',
    '--ignore-scripts',
    '--loglevel=error',
    '--pack-destination',
    folder,
  ])
  const report = JSON.parse(output.slice(output.search(/^[[{]/m)))
  const packed = Array.isArray(report) ? report[0] : Object.values(report)[0]
  return {
    tarball: join(folder, packed.filename),
    files: packed.files.map(({ path }) => path).sort(),
    bytes: packed.size,
    unpackedBytes: packed.unpackedSize,
  }
}

/** A folder of links to the few programs that npm itself needs: a machine without development tools. */
function bareTools(folder) {
  mkdirSync(folder)
  const npm = dirname(dirname(realpathSync(which('npm'))))
  symlinkSync(process.execPath, join(folder, 'node'))
  writeFileSync(join(folder, 'npm'), `#!/bin/sh\nexec node "${join(npm, 'bin', 'npm-cli.js')}" "$@"\n`, { mode: 0o755 })
  for (const name of ['sh', 'env']) symlinkSync(which(name), join(folder, name))
  return folder
}

/** Resolves with `{ folder, env, remove }`: a folder outside of the clone in which the tarball is installed. */
export async function installPacked(tarball) {
  const base = mkdtempSync(join(tmpdir(), 'hermes-packed-'))
  const folder = join(base, 'service')
  cpSync(join(root, 'test', 'package', 'fixture'), folder, { recursive: true })
  const env = { PATH: bareTools(join(base, 'bin')), HERMES_NATIVE: '', NODE_PATH: '' }
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', tarball]
  await must('npm', args, { cwd: folder, env, timeoutMs: 180_000 })
  return { folder, env, remove: () => rmSync(base, { recursive: true, force: true }) }
}
