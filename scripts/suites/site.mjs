// The documentation site: built, all its links followed, and opened in Chromium.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { need } from '../lib/apt.mjs'
import { buildSite, siteFolder } from '../lib/site/build.mjs'
import { checkLinks } from '../lib/site/links.mjs'
import { search } from '../lib/site/screenshots.mjs'
import { serveSite } from '../lib/site/serve.mjs'
import { addCounts, countFaults } from '../lib/suite.mjs'

const phone = { width: 390, height: 844 }

/** Pages of the reference look alike: of each kind of page one in this many is opened. */
const everyOf = 12

async function inBrowser(pages) {
  const { launch } = await import('../lib/chromium.mjs')
  const [site, browser] = [await serveSite(siteFolder), await launch()]
  try {
    const page = await browser.newPage({ viewport: phone })
    page.setDefaultTimeout(60_000)
    const [complaints, hosts] = [[], new Set()]
    page.on('console', (message) => message.type() === 'error' && complaints.push(`${page.url()}: ${message.text()}`))
    page.on('pageerror', (error) => complaints.push(`${page.url()}: ${error}`))
    page.on('request', (request) => hosts.add(new URL(request.url()).host))
    const wide = []
    const opened = pages.filter((name, index) => !name.startsWith('reference/') || index % everyOf === 0)
    for (const name of opened.filter((name) => name !== '404.html')) {
      await page.goto(`${site.url}${name}`, { waitUntil: 'load' })
      const width = await page.evaluate('document.documentElement.scrollWidth')
      if (width > phone.width) wide.push(`${name} is ${width} px wide`)
    }
    await page.setViewportSize({ width: 1280, height: 900 })
    await page.goto(site.url, { waitUntil: 'load' })
    const found = await search(page, 'publishBatch')
    const [first] = found
    await page.locator('.VPLocalSearchBox .results a.result').first().click()
    await page.waitForURL((url) => url.href.includes(first.replace(/#.*/, '')))
    const text = await page.locator('.vp-doc').innerText()
    return [
      { name: `${opened.length} pages fit on a phone of ${phone.width} px`, fault: wide.join(', ') || undefined },
      {
        name: 'the search finds publishBatch, methods of that name first',
        fault:
          /#publishbatch$/.test(first) && found.some((href) => /\/Publisher\.html#publishbatch$/.test(href))
            ? undefined
            : `it found ${found.join(', ') || 'nothing'}`,
      },
      {
        name: 'what the search found opens, and has it',
        fault: text.includes('publishBatch') ? undefined : `${first} does not name it`,
      },
      { name: 'no page complains', fault: complaints.slice(0, 5).join(', ') || undefined },
      {
        name: 'the site asks no other host for anything',
        fault: hosts.size === 1 ? undefined : [...hosts].join(', '),
      },
    ]
  } finally {
    await browser.close()
    await site.close()
  }
}

export const suite = {
  name: 'site',
  timeoutMinutes: 8,
  async run({ print }) {
    rmSync(join(siteFolder, '..'), { recursive: true, force: true })
    await buildSite()
    const { pages, links, faults } = checkLinks(siteFolder)
    const results = [
      {
        name: `${links} links on ${pages.length} pages lead to a page and a heading`,
        fault: faults.join('\n') || undefined,
      },
      { name: 'the site has all documents', fault: pages.length > 200 && links > 5000 ? undefined : 'it is too small' },
    ]
    const counts = countFaults(results, print)
    const missing = await need('chromium')
    if (missing !== undefined) return addCounts(counts, { passed: 0, failed: 0, skipped: 1, reason: missing })
    return addCounts(counts, countFaults(await inBrowser(pages), print))
  },
}
