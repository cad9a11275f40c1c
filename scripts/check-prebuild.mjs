// npm run check:prebuild: checks that the committed prebuilds are those of the present native sources, by building them again and comparing
// bytes, and that they ask nothing of a machine but its C library.
//
//   npm run check:prebuild -- --no-rebuild    only what can be seen without a compiler
import { existsSync, readFileSync } from 'node:fs'
import { ensureDependencies } from './lib/build.mjs'
import { compilePrebuilds } from './lib/compile-prebuilds.mjs'
import { green, red } from './lib/log.mjs'
import { targets } from './lib/prebuild-recipe.mjs'
import {
  addonFaults,
  prebuildCommand,
  prebuildFault,
  prebuildFile,
  prebuildFileName,
  strayPrebuilds,
} from './lib/prebuilds.mjs'
import { toolchainFault } from './lib/toolchain.mjs'

/** What can be seen without a compiler: a list of `{ name, fault }`; `fault` is undefined where the check holds. */
export function checkFiles() {
  const results = targets.flatMap((target) => {
    const name = `prebuilds/${prebuildFileName(target.name)}`
    const stale = prebuildFault(target.name)
    const file = prebuildFile(target.name)
    const faults = existsSync(file) ? addonFaults(file, target).join('; ') : 'it does not exist'
    return [
      {
        name: `${name} is of the present native sources`,
        fault: stale && `${stale}. To build it anew: ${prebuildCommand}`,
      },
      { name: `${name} asks for nothing but the C library of its machines`, fault: faults || undefined },
    ]
  })
  const strays = strayPrebuilds().join(', ')
  return [...results, { name: 'nothing else is in prebuilds/', fault: strays || undefined }]
}

/** Builds every prebuild again and compares: what the fingerprint in the manifest claims is shown. */
export async function checkBytes({ log } = {}) {
  const built = await compilePrebuilds({ log })
  return targets.map((target) => {
    const [ours, theirs] = [built.get(target.name), prebuildFile(target.name)].map((file) => readFileSync(file))
    const same = ours.equals(theirs)
    return {
      name: `prebuilds/${prebuildFileName(target.name)} has the bytes that the present sources give`,
      fault: same
        ? undefined
        : `it has others (${theirs.length}, not ${ours.length}). To build it anew: ${prebuildCommand}`,
    }
  })
}

if (process.argv[1] === import.meta.filename) {
  const results = checkFiles()
  // Of other sources, the bytes are others too.
  const isWorthwhile = results.every(({ fault }) => fault === undefined) && !process.argv.includes('--no-rebuild')
  if (isWorthwhile) {
    const fault = toolchainFault()
    if (fault !== undefined) console.log(`not built again: ${fault}`)
    else {
      await ensureDependencies()
      results.push(...(await checkBytes()))
    }
  }
  for (const { name, fault } of results) {
    console.log(fault === undefined ? `${green('ok')} ${name}` : `${red('not ok')} ${name}: ${fault}`)
  }
  process.exit(results.some(({ fault }) => fault !== undefined) ? 1 : 0)
}
