// npm run build:prebuild: compiles the addon for every target into prebuilds/, as an ordinary user, on Linux x64.
//
//   npm run build:prebuild -- --jobs 1    one compiler at a time; by default as many as there are processors
//   npm run build:prebuild -- --afresh    without what earlier builds left below build/
//
// The compiler is fetched once, from npm, by version and checksum, into $HERMES_CACHE (by default ~/.cache/hermes). The same sources give the
// same bytes on every machine: `npm run check:prebuild` builds them again and compares.
import { parseArgs } from 'node:util'
import { ensureDependencies, platformName } from './lib/build.mjs'
import { compilePrebuilds } from './lib/compile-prebuilds.mjs'
import { fail, say, seconds, timed } from './lib/log.mjs'
import { targets } from './lib/prebuild-recipe.mjs'
import { addonFaults, installPrebuilds, prebuildFileName } from './lib/prebuilds.mjs'
import { run } from './lib/run.mjs'
import { zigVersion } from './lib/toolchain.mjs'

async function build({ jobs, afresh }) {
  await ensureDependencies()
  const built = await timed(`compiling for ${targets.map(({ name }) => name).join(', ')}`, () =>
    compilePrebuilds({ jobs, afresh }),
  )
  for (const target of targets) {
    const faults = addonFaults(built.get(target.name), target)
    if (faults.length > 0) throw new Error(`the addon for ${target.name} is not as it should be: ${faults.join('; ')}`)
  }
  const own = built.get(platformName())
  if (own !== undefined) {
    const loaded = await run(process.execPath, ['-e', 'require(process.argv[1])', own])
    if (loaded.code !== 0) throw new Error(`the result does not load:\n${loaded.output}`)
  }
  const changed = installPrebuilds(built, { toolchain: `Zig ${zigVersion}` })
  for (const { name } of targets) {
    say(
      `prebuilds/${prebuildFileName(name)}: ${changed.includes(prebuildFileName(name)) ? 'new bytes' : 'the same bytes as before'}`,
    )
  }
}

const start = Date.now()
try {
  const { values } = parseArgs({ options: { jobs: { type: 'string' }, afresh: { type: 'boolean', default: false } } })
  const jobs = values.jobs === undefined ? undefined : Number(values.jobs)
  if (jobs !== undefined && !(Number.isInteger(jobs) && jobs > 0))
    throw new Error('--jobs takes a positive whole number')
  await build({ jobs, afresh: values.afresh })
  say(`done in ${seconds(start)}`)
} catch (error) {
  fail(error.message)
}
