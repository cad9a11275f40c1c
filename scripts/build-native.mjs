// npm run build:native: builds the addon of this machine with node-gyp, into build/Release/hermes.node.
import { buildAddon, ensureDependencies } from './lib/build.mjs'
import { fail, say, seconds } from './lib/log.mjs'

const start = Date.now()
try {
  await ensureDependencies()
  await buildAddon({ show: true })
  say(`build/Release/hermes.node built in ${seconds(start)}`)
} catch (error) {
  fail(error.message)
}
