// Part of npm run build: the dashboard, from page/ to dist/page.
import { join } from 'node:path'
import { buildPage } from './lib/page.mjs'
import { root } from './lib/run.mjs'

await buildPage(join(root, 'dist/page'))
