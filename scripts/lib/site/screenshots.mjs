// Pictures of the site, to be looked at by people.
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { launch } from '../chromium.mjs'
import { serveSite } from './serve.mjs'

const shots = [
  ['home', '', 'light', 1280, 900],
  ['home-phone', '', 'dark', 390, 844],
  ['tutorial', 'tutorial.html', 'light', 1280, 900],
  ['api-dark', 'api.html', 'dark', 1280, 900],
  ['benchmarks', 'benchmarks.html#network-round-trip', 'light', 1280, 900],
  ['metrics-phone', 'metrics.html', 'light', 390, 844],
  ['errors-phone', 'errors.html', 'light', 390, 844],
  ['reference', 'reference/hermes-mq/interfaces/Publisher.html', 'light', 1280, 900],
  ['reference-phone', 'reference/hermes-mq/interfaces/Publisher.html', 'dark', 390, 844],
  ['decisions', 'decisions/', 'light', 1280, 900],
  ['examples', 'examples/', 'light', 1280, 900],
]

/** Resolves with the paths of the pictures. */
export async function takeScreenshots(folder, base = '/') {
  const out = join(folder, '..', 'screenshots')
  mkdirSync(out, { recursive: true })
  const [site, browser] = [await serveSite(folder, { base }), await launch()]
  try {
    const files = []
    for (const [name, path, colorScheme, width, height] of shots) {
      const page = await browser.newPage({ viewport: { width, height }, colorScheme })
      await page.goto(`${site.url}${path}`, { waitUntil: 'networkidle' })
      files.push(join(out, `${name}.png`))
      await page.screenshot({ path: files.at(-1) })
      await page.close()
    }
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    await page.goto(site.url, { waitUntil: 'networkidle' })
    await search(page, 'publishBatch')
    files.push(join(out, 'search.png'))
    await page.screenshot({ path: files.at(-1) })
    return files
  } finally {
    await browser.close()
    await site.close()
  }
}

/** Types into the search box. Resolves with the targets of what was found. */
export async function search(page, text) {
  const input = page.locator('#localsearch-input')
  // The page takes keys only once its program has started, of which it does not tell.
  const isOpen = () =>
    input.waitFor({ timeout: 1000 }).then(
      () => true,
      () => false,
    )
  for (const end = Date.now() + 60_000; ; ) {
    await page.keyboard.press('Control+k')
    if (await isOpen()) break
    if (Date.now() > end) throw new Error('the search did not open within a minute')
  }
  await input.fill(text)
  const results = page.locator('.VPLocalSearchBox .results a.result')
  await results.first().waitFor()
  return results.evaluateAll((links) => links.map((link) => link.getAttribute('href')))
}
