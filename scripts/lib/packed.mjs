// Packs the package, and installs the tarball as a user would: in an empty folder, without install scripts, and
// without a compiler, make or Python on PATH.
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ensurePackage } from './pinned.mjs'
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

const pnpm = {
  name: 'pnpm',
  version: '10.34.8',
  integrity: 'sha512-9ieo6XE0Ov5J39D2PQKCNCAd+oMdXLWIcz4eX42ya/FpiaMhYatcG02zsf28NzFgYGtbieAC323RmoWt+R/FqA==',
}

/** A folder of links to the few programs that npm itself needs: a machine without development tools. */
function bareTools(folder, node) {
  mkdirSync(folder)
  const npm = dirname(dirname(realpathSync(which('npm'))))
  symlinkSync(node, join(folder, 'node'))
  writeFileSync(join(folder, 'npm'), `#!/bin/sh\nexec node "${join(npm, 'bin', 'npm-cli.js')}" "$@"\n`, { mode: 0o755 })
  for (const name of ['sh', 'env']) symlinkSync(which(name), join(folder, name))
  return folder
}

/**
 * Resolves with `{ folder, env, remove }`: a folder outside of the clone in which the tarball is installed, by `npm` or `pnpm`, which run on
 * `node`.
 */
export async function installPacked(tarball, { node = process.execPath, manager = 'npm' } = {}) {
  const base = mkdtempSync(join(tmpdir(), 'hermes-packed-'))
  const folder = join(base, 'service')
  cpSync(join(root, 'test', 'package', 'fixture'), folder, { recursive: true })
  const env = { PATH: bareTools(join(base, 'bin'), node), HERMES_NATIVE: '', NODE_PATH: '' }
  if (manager === 'npm') {
    const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', tarball]
    await must('npm', args, { cwd: folder, env, timeoutMs: 180_000 })
  } else {
    const program = join(await ensurePackage(pnpm), 'bin', 'pnpm.cjs')
    // A store of its own: the machine's is not to be touched.
    const args = [program, 'add', '--ignore-scripts', '--prefer-offline', `--store-dir=${join(base, 'store')}`, tarball]
    await must(node, args, { cwd: folder, env: { ...env, CI: 'true' }, timeoutMs: 180_000 })
  }
  return { folder, env, remove: () => rmSync(base, { recursive: true, force: true }) }
}

/** Compiles the programs of test/package/fixture as a user's, against the types in the tarball. Resolves with the folder of what comes out. */
export async function compileFixture({ tarball }, { log } = {}) {
  const out = join(root, 'build', 'package', 'out')
  const { folder, remove } = await installPacked(tarball)
  try {
    const tsc = join(root, 'node_modules', '.bin', 'tsc')
    const types = join(root, 'node_modules', '@types')
    await must(tsc, ['-p', folder, '--outDir', out, '--typeRoots', types], { log })
  } finally {
    remove()
  }
  return out
}
