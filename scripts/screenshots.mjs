// npm run screenshots: the dashboard over a place with some load, in Chromium, into docs/figures.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { chromium } from 'playwright-core'
import { serveAdmin } from '../dist/admin/server.js'
import { serve } from '../dist/broker/broker.js'
import { ascii, f64, json, open, struct, u32 } from '../dist/index.js'
import { need } from './lib/apt.mjs'
import { ensureDist } from './lib/build.mjs'
import { root, which } from './lib/run.mjs'

const missing = await need('chromium')
if (missing !== undefined) throw new Error(missing)
await ensureDist()
const seconds = Number(process.env['SECONDS_OF_LOAD'] ?? 45)
const folder = mkdtempSync(join(tmpdir(), 'hermes-screenshots-'))
const out = join(root, 'docs/figures')
mkdirSync(out, { recursive: true })
const place = join(folder, 'hermes-data')

const broker = await serve({ dir: place, port: 0, webSocket: { port: 0 } })
const hermes = await open(place)
const remote = await open(broker.url)
const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
const trades = hermes.topic('trades', { codec: Trade })
const orders = remote.topic('orders', { codec: json })
const publishers = [await trades.publisher(), await orders.publisher()]
const subscriber = await trades.subscriber({ from: 'latest' })
const fast = await hermes.topic('orders', { codec: json }).group('warehouse')
const slow = await hermes.topic('orders', { codec: json }).group('billing')
const symbols = ['BTC', 'ETH', 'SOL', 'XMR']
let sent = 0
const publish = () => {
  const wave = 60 + Math.round(40 * Math.sin(performance.now() / 5000) + 20 * Math.random())
  for (let n = 0; n < wave; n++, sent++)
    publishers[0].publish({ symbol: symbols[sent % 4], price: 50_000 + (sent % 997) / 10, size: 1 + (sent % 20) })
  for (let n = 0; n < 3; n++)
    publishers[1].publish({ id: sent * 3 + n, customer: `c-${sent % 89}`, total: (sent % 500) + 0.5 })
}
const timers = [setInterval(publish, 20), setInterval(() => subscriber.poll(() => {}), 5)]
const stop = new AbortController()
const works = [fast, slow].map((group, index) =>
  group.run(
    async () => {
      if (index === 1) await new Promise((resolve) => setTimeout(resolve, 12))
    },
    { signal: stop.signal },
  ),
)
const admin = await serveAdmin({ dir: place, port: 0, expectsBroker: true, webSocketUrl: broker.webSocketUrl })
broker.admitDashboard(admin.port)
const browser = await chromium.launch({
  executablePath: which('chromium'),
  args: ['--no-sandbox', '--disable-dev-shm-usage'],
})
try {
  const shots = [
    ['dashboard-light', '', 'light', 1200, 800],
    ['dashboard-dark', '', 'dark', 1200, 800],
    ['dashboard-topic', '#/topic/orders', 'light', 1200, 1000],
    ['dashboard-phone', '', 'dark', 390, 844],
  ]
  const pages = []
  for (const [name, hash, colorScheme, width, height] of shots) {
    const page = await browser.newPage({ viewport: { width, height }, colorScheme })
    await page.goto(`${admin.url}/${hash}`)
    pages.push([name, page])
  }
  await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  for (const [name, page] of pages) await page.screenshot({ path: join(out, `${name}.png`) })
} finally {
  await browser.close()
  for (const timer of timers) clearInterval(timer)
  stop.abort()
  await Promise.allSettled(works)
  await admin.close()
  await remote.close()
  await hermes.close()
  await broker.close()
  rmSync(folder, { recursive: true, force: true })
}
