// Checks that every committed prebuild is the file its manifest describes, of the present native sources, and asks
// for no newer glibc than promised and for no libstdc++.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { inspect, newerThan } from './lib/elf.mjs'
import { green, red } from './lib/log.mjs'
import { maxGlibc, prebuildFault, prebuildPlatforms } from './lib/native-sources.mjs'
import { root } from './lib/run.mjs'

/** A list of `{ name, fault }`; `fault` is undefined where the check holds. */
export function checkPrebuilds() {
  const results = []
  for (const platform of prebuildPlatforms()) {
    results.push({
      name: `prebuilds/${platform} is of the present native sources`,
      fault: prebuildFault(platform),
    })
    if (!platform.startsWith('linux-') || platform.endsWith('-musl')) continue
    const addon = join(root, 'prebuilds', platform, 'hermes.node')
    if (!existsSync(addon)) continue
    const { exports, glibc, glibcxx, needed } = inspect(addon)
    const strays = exports.filter((name) => !/^(napi_register_module|node_api_module_get_api_version)_v1$/.test(name))
    results.push({
      name: `prebuilds/${platform} asks for glibc ${maxGlibc} or older`,
      fault: newerThan(glibc, maxGlibc) ? `it asks for glibc ${glibc}` : undefined,
    })
    results.push({
      name: `prebuilds/${platform} brings its own libstdc++`,
      fault: glibcxx ? `it needs ${needed.join(', ')}` : undefined,
    })
    results.push({
      name: `prebuilds/${platform} shows nothing but the entry points of Node-API`,
      fault: strays.length > 0 ? `it shows ${strays.slice(0, 5).join(', ')} …` : undefined,
    })
  }
  return results
}

if (process.argv[1] === import.meta.filename) {
  const results = checkPrebuilds()
  for (const { name, fault } of results) {
    console.log(fault === undefined ? `${green('ok')} ${name}` : `${red('not ok')} ${name}: ${fault}`)
  }
  const failed = results.filter(({ fault }) => fault !== undefined)
  if (results.length === 0) console.log('there are no prebuilds')
  if (failed.length > 0) console.log('To build them anew: npm run build:prebuild')
  process.exit(failed.length > 0 || results.length === 0 ? 1 : 0)
}
