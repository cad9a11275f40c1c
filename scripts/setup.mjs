// Makes a clone ready to use: dependencies, dist/, the native addon. Quick when there is nothing to do.
import { setup } from './lib/build.mjs'
import { fail, say, seconds } from './lib/log.mjs'

const start = Date.now()
try {
  const addon = await setup()
  say(`ready in ${seconds(start)} (addon: ${addon === 'prebuild' ? 'the committed prebuild' : 'build/Release'})`)
} catch (error) {
  fail(error.message)
}
