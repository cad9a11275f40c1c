import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'

// The parts of the documentation site that need nothing installed. The suite `site` builds it and opens it in Chromium.

const folder = join(import.meta.dirname, '../../scripts/lib/site')
const load = (name: string): Promise<unknown> => import(pathToFileURL(join(folder, name)).href)
const { forSite } = (await load('markdown.mjs')) as {
  forSite(text: string, linkOf: (target: string) => string): string
}
const { checkLinks } = (await load('links.mjs')) as {
  checkLinks(folder: string, base?: string): { pages: string[]; links: number; faults: string[] }
}
const { stagePages } = (await load('stage.mjs')) as {
  stagePages(out: string): { text: string; items: { text: string; link: string }[] }[]
}
const newFolder = foldersPerTest()

test('links of a document lead into the site; code and other hosts stay; comments for tests go', () => {
  const text = [
    '[a](api.md#x) `[b](c)` [web](https://example.org/a.md) [here](#there) ![p](figures/a.svg)',
    '<!-- example before',
    'const a = 1',
    '-->',
    '```md',
    '[d](e) <!-- kept -->',
    '```',
  ]
  expect(forSite(text.join('\n'), (target) => `/${target.toUpperCase()}`)).toBe(
    [
      '[a](/API.MD#X) `[b](c)` [web](https://example.org/a.md) [here](#there) ![p](/FIGURES/A.SVG)',
      '```md',
      '[d](e) <!-- kept -->',
      '```',
    ].join('\n'),
  )
})

test('links and anchors that lead nowhere are found', () => {
  const site = newFolder()
  const page = (name: string, html: string) => {
    mkdirSync(join(site, name, '..'), { recursive: true })
    writeFileSync(join(site, name), html)
  }
  page(
    'a.html',
    '<h2 id="x">X</h2><a class="c" href="/h/b/">b</a><a href="#x">x</a><a href="https://example.org/none">e</a>',
  )
  page(
    'b/index.html',
    '<a href="../a.html#x">a</a><a href="/h/a.html#y">y</a><a href="/h/none.html">n</a><img src="/p.png">',
  )
  const { pages, links, faults } = checkLinks(site, '/h/')
  expect({ pages, links }).toEqual({ pages: ['a.html', 'b/index.html'], links: 6 })
  expect(faults).toEqual([
    'b/index.html links to /h/a.html#y, and that page has no such heading',
    'b/index.html links to /h/none.html, which is not there',
    'b/index.html links to /p.png, which is not there',
  ])
})

test('every document has its place in the menu, and every link of one has a page', () => {
  const menu = stagePages(newFolder())
  const links = menu.flatMap(({ items }) => items.map(({ link }) => link))
  expect(links).toEqual(expect.arrayContaining(['/tutorial', '/api', '/python', '/examples/', '/decisions/']))
  expect(new Set(links).size).toBe(links.length)
  expect(menu.flatMap(({ items }) => items.map(({ text }) => text)).filter((text) => /^$|`/.test(text))).toEqual([])
})
