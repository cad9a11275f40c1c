// The dashboard: page/ and uPlot, bundled into a folder of dist/.
import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'esbuild'
import { root } from './run.mjs'

/**
 * For the page, modules of the package are as a browser needs them: without the addon, as package.json says under `browser`; and without code that is
 * made at run time. The page's policy does not allow that, and asking whether it does is written to the console: structs are read by the interpreter.
 */
const forPages = {
  name: 'for-pages',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/load\.js$/ }, ({ path, resolveDir }) => {
      const found = join(resolveDir, path)
      return found.endsWith('/native/load.js') ? { path: join(found, '..', 'no-addon.js') } : undefined
    })
    onLoad({ filter: /\/codec\/struct\/generate\.js$/ }, () => ({
      contents: 'export const canGenerate = false; export const generate = undefined',
    }))
  },
}

/** Writes the files of the dashboard: into `folder`, which lies in that of the compiled package. */
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
    plugins: [forPages],
    // As a bundle of any program has it.
    alias: { 'hermes-mq': join(folder, '..', 'browser.js') },
    tsconfigRaw: '{}',
    logLevel: 'error',
  })
  for (const name of ['index.html', 'style.css', 'icon.svg']) copyFileSync(join(root, 'page', name), join(folder, name))
  copyFileSync(join(root, 'node_modules/uplot/dist/uPlot.min.css'), join(folder, 'uplot.css'))
  copyFileSync(join(root, 'node_modules/uplot/LICENSE'), join(folder, 'uplot-LICENSE.txt'))
}
