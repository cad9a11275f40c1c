import { readFileSync } from 'node:fs'
import type { Answer } from './answer.js'

/* The dashboard: static files beside this one in the package, made from page/ by `npm run build`. */

/** From dist/admin/, and from lib/admin/ in tests. */
const folder = new URL(import.meta.url.endsWith('.ts') ? '../../dist/page/' : '../page/', import.meta.url)

/** Nothing is loaded from elsewhere, and no script but ours runs. uPlot sets styles of elements by script, which this allows. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

const files: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/page/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/page/uplot.css': ['uplot.css', 'text/css; charset=utf-8'],
  '/page/icon.svg': ['icon.svg', 'image/svg+xml'],
}

const read = new Map<string, Buffer>()

/** A file of the dashboard; `undefined`: the path is of none. */
export function pagePart(path: string): Answer | undefined {
  const found = Object.hasOwn(files, path) ? files[path] : undefined
  if (found === undefined) return undefined
  const [file, type] = found
  let body = read.get(file)
  if (body === undefined) {
    body = readFileSync(new URL(file, folder))
    read.set(file, body)
  }
  return { status: 200, type, body, headers: { 'Content-Security-Policy': policy } }
}
