// The dashboard: page/ and uPlot, bundled into a folder of dist/.
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { root } from './run.mjs'

/** Writes the files of the dashboard. */
export async function buildPage(folder) {
  mkdirSync(folder, { recursive: true })
  await build({
    entryPoints: [join(root, 'page/main.ts')],
    outfile: join(folder, 'page.js'),
    bundle: true,
    minify: true,
    format: 'esm',
    target: 'es2022',
    legalComments: 'inline',
    logLevel: 'error',
  })
  for (const name of ['index.html', 'style.css', 'icon.svg']) copyFileSync(join(root, 'page', name), join(folder, name))
  copyFileSync(join(root, 'node_modules/uplot/dist/uPlot.min.css'), join(folder, 'uplot.css'))
  copyFileSync(join(root, 'node_modules/uplot/LICENSE'), join(folder, 'uplot-LICENSE.txt'))
}
