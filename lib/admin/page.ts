import { readFileSync } from 'node:fs'
import type { Answer } from './answer.js'

/* The dashboard: static files beside this one in the package, made from page/ by `npm run build`. */

/** From dist/admin/, and from lib/admin/ in tests. */
const folder = new URL(import.meta.url.endsWith('.ts') ? '../../dist/page/' : '../page/', import.meta.url)

/** Nothing is loaded from elsewhere, and no script but ours runs. uPlot sets styles of elements by script, which this allows. */
const policy = (door: string | undefined) =>
  `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'${door === undefined ? '' : ` ${door}`}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`

/**
 * The broker's door for WebSockets, by the name that the page has for this machine; `undefined`: there is none for pages.
 *
 * @param host of the request. It gets into a header, so it has to be a name or an address and nothing else
 */
export function doorOf(webSocketUrl: string | undefined, host: string | undefined): string | undefined {
  const [, name] = /^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d+)?$/.exec(host ?? '') ?? []
  if (webSocketUrl === undefined || name === undefined) return undefined
  return webSocketUrl.replace(/^(wss?:\/\/).*(:\d+)$/, `$1${name}$2`)
}

const files: Readonly<Record<string, readonly [file: string, type: string]>> = {
  '/': ['index.html', 'text/html; charset=utf-8'],
  '/page/page.js': ['page.js', 'text/javascript; charset=utf-8'],
  '/page/style.css': ['style.css', 'text/css; charset=utf-8'],
  '/page/uplot.css': ['uplot.css', 'text/css; charset=utf-8'],
  '/page/icon.svg': ['icon.svg', 'image/svg+xml'],
}

const read = new Map<string, Buffer>()

/** A file of the dashboard, which may connect to `door`; `undefined`: the path is of none. */
export function pagePart(path: string, door: string | undefined): Answer | undefined {
  const found = Object.hasOwn(files, path) ? files[path] : undefined
  if (found === undefined) return undefined
  const [file, type] = found
  let body = read.get(file)
  if (body === undefined) {
    body = readFileSync(new URL(file, folder))
    read.set(file, body)
  }
  return { status: 200, type, body, headers: { 'Content-Security-Policy': policy(door) } }
}
