// The documentation site: pages and reference are staged in build/site/src, and VitePress makes build/site/html of them.
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ensureLocked } from '../cache.mjs'
import { timed } from '../log.mjs'
import { must, root } from '../run.mjs'
import { stageReference } from './reference.mjs'
import { stagePages } from './stage.mjs'

const sources = join(root, 'site')
const work = join(root, 'build', 'site')
export const siteFolder = join(work, 'html')

/** Resolves with the folder of the site. `base` is the path that it will have on its server. */
export async function buildSite({ base = '/' } = {}) {
  const packages = await ensureLocked(sources, { name: 'site', title: 'VitePress and TypeDoc (150 MB)' })
  rmSync(work, { recursive: true, force: true })
  const pages = join(work, 'src')
  mkdirSync(join(pages, 'public'), { recursive: true })
  symlinkSync(packages, join(work, 'node_modules'))
  copyFileSync(join(root, 'page', 'icon.svg'), join(pages, 'public', 'icon.svg'))
  cpSync(sources, join(work, '.vitepress'), { recursive: true })
  copyFileSync(join(root, 'scripts/lib/site/anchors.mjs'), join(work, '.vitepress', 'anchors.mjs'))
  const guide = stagePages(pages)
  const reference = await timed('describing the exports with TypeDoc', () => stageReference(pages, work, packages))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  writeFileSync(join(work, '.vitepress', 'site.json'), JSON.stringify({ base, version, guide, reference }))
  await timed('building the site with VitePress', () =>
    // (VitePress shows a spinner unless it is told that nobody looks.)
    must(process.execPath, [join(packages, 'vitepress', 'bin', 'vitepress.js'), 'build', work], {
      env: { CI: 'true' },
    }),
  )
  return siteFolder
}
