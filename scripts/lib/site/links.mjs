// Every link and anchor of the built site, read from its pages.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

const plain = (text) => text.replaceAll('&amp;', '&').replaceAll('&#39;', "'").replaceAll('&quot;', '"')

/** `{ pages, links, faults }`: how many of each, and a sentence for each link that leads nowhere. */
export function checkLinks(folder, base = '/') {
  const pages = readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.html'))
    .sort()
  const idsOf = new Map()
  const ids = (file) => {
    if (!idsOf.has(file))
      idsOf.set(file, new Set([...readFileSync(file, 'utf8').matchAll(/\sid="([^"]+)"/g)].map(([, id]) => plain(id))))
    return idsOf.get(file)
  }
  const faults = new Set()
  let links = 0
  for (const page of pages) {
    const html = readFileSync(join(folder, page), 'utf8')
    const here = new URL(`http://site${base}${page}`)
    for (const [, target] of html.matchAll(/<(?:a|img|link|script)\b[^>]*?\s(?:href|src)="([^"]*)"/g)) {
      const url = new URL(plain(target), here)
      if (url.host !== 'site') continue
      links++
      const path = decodeURIComponent(url.pathname)
      const file = join(folder, path.slice(base.length), path.endsWith('/') ? 'index.html' : '')
      if (!path.startsWith(base) || !existsSync(file) || !statSync(file).isFile()) {
        faults.add(`${page} links to ${target}, which is not there`)
      } else if (url.hash !== '' && !ids(file).has(decodeURIComponent(url.hash.slice(1)))) {
        faults.add(`${page} links to ${target}, and that page has no such heading`)
      }
    }
  }
  return { pages, links, faults: [...faults] }
}
