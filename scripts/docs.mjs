// npm run docs: the documentation as a site, with search and a reference of all exports, in build/site/html.
//
//   npm run docs                           for the root of a server
//   npm run docs -- --base /hermes/        for a folder of one
//   npm run docs -- --serve                and shows it on a port of this machine
//   npm run docs -- --screenshots          and makes pictures of some pages in Chromium, in build/site/screenshots
import { relative } from 'node:path'
import { parseArgs } from 'node:util'
import { need } from './lib/apt.mjs'
import { ensureDependencies } from './lib/build.mjs'
import { fail, say } from './lib/log.mjs'
import { root } from './lib/run.mjs'
import { buildSite } from './lib/site/build.mjs'
import { serveSite } from './lib/site/serve.mjs'

const { values } = parseArgs({
  options: { base: { type: 'string', default: '/' }, serve: { type: 'boolean' }, screenshots: { type: 'boolean' } },
})
try {
  if (!/^\/(.*\/)?$/.test(values.base))
    fail(`--base begins and ends with a slash, as /hermes/ does; it is ${values.base}`)
  await ensureDependencies()
  const folder = await buildSite({ base: values.base })
  say(`the site is in ${relative(root, folder)}`)
  if (values.screenshots) {
    const missing = await need('chromium')
    if (missing !== undefined) fail(missing)
    const { takeScreenshots } = await import('./lib/site/screenshots.mjs')
    for (const file of await takeScreenshots(folder, values.base)) say(relative(root, file))
  }
  if (values.serve) {
    const { url } = await serveSite(folder, { base: values.base })
    say(`look at ${url} (Ctrl-C ends it)`)
  }
} catch (error) {
  fail(error.message)
}
