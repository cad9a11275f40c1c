// npm run build:native: builds the addon of this machine with node-gyp, into build/Release/hermes.node.
//
//   npm run build:native -- --crash-points    with the core's crash points, by CMake, into build/crash-points/hermes.node: for tests only
import { parseArgs } from 'node:util'
import { buildAddon, crashAddonFile, ensureCrashAddon, ensureDependencies } from './lib/build.mjs'
import { fail, say, seconds } from './lib/log.mjs'
import { root } from './lib/run.mjs'

const start = Date.now()
try {
  const { values } = parseArgs({ options: { 'crash-points': { type: 'boolean', default: false } } })
  await ensureDependencies()
  if (values['crash-points']) {
    await ensureCrashAddon({ show: true })
    say(`${crashAddonFile.slice(root.length + 1)} is up to date, after ${seconds(start)}`)
  } else {
    await buildAddon({ show: true })
    say(`build/Release/hermes.node built in ${seconds(start)}`)
  }
} catch (error) {
  fail(error.message)
}
