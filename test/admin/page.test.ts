import type { Browser, BrowserContextOptions, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { type AdminServer, serveAdmin } from '../../lib/admin/server.js'
import type { AccessEntry } from '../../lib/broker/access.js'
import { serve } from '../../lib/broker/broker.js'
import { ascii, f64, type Hermes, json, msgpack, open, raw, struct, text, u32 } from '../../lib/index.js'
import { hasChromium, launchChromium } from '../helpers/chromium.js'
import { foldersPerTest } from '../helpers/folder.js'

const folder = foldersPerTest()
const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
const boss = { name: 'boss', token: 'boss-boss-boss-boss', administer: true }
const guest = { name: 'guest', token: 'guest-guest-guest', publish: ['trades'], subscribe: ['orders'] }

let browser: Browser | undefined
let place: string
let hermes: Hermes
let server: AdminServer
let timer: NodeJS.Timeout | undefined

beforeAll(async () => {
  if (hasChromium) browser = await launchChromium()
}, 180_000)
afterAll(() => browser?.close())

beforeEach(async () => {
  place = folder()
  hermes = await open(place)
})

afterEach(async () => {
  clearInterval(timer)
  await hermes.close()
  await server?.close()
})

async function started(access: readonly AccessEntry[] = []): Promise<void> {
  server = await serveAdmin({ dir: place, port: 0, access })
}

/** Trades that come and are received; orders of which a group without a member has 30 before it. */
async function load(): Promise<void> {
  const publisher = await hermes.topic('trades', { codec: Trade }).publisher()
  const subscriber = await hermes.topic('trades', { codec: Trade }).subscriber({ from: 'latest' })
  let n = 0
  timer = setInterval(() => {
    for (let i = 0; i < 20; i++) publisher.publish({ symbol: 'BTC', price: 50_000, size: ++n })
    subscriber.poll(() => {})
  }, 10)
  const orders = hermes.topic('orders', { codec: json })
  const ordering = await orders.publisher()
  await (await orders.group('billing')).close()
  for (let id = 0; id < 30; id++) ordering.publish({ id, note: '<img src=x onerror=alert(1)>' })
}

async function ask(path: string, token?: string): Promise<Response> {
  return fetch(`${server.url}${path}`, token === undefined ? {} : { headers: { Authorization: `Bearer ${token}` } })
}

interface Opened {
  readonly page: Page
  /** On the console, and errors. */
  readonly complaints: string[]
  /** Hosts that were asked for something. */
  readonly hosts: Set<string>
}

async function opened(hash = '', options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await (browser as Browser).newContext(options)
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const complaints: string[] = []
  const hosts = new Set<string>()
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('request', (request) => hosts.add(new URL(request.url()).host))
  await page.goto(`${server.url}/${hash}`)
  return { page, complaints, hosts }
}

/** Waits for a figure of a tile that is above 0. */
async function figure(page: Page, label: string): Promise<void> {
  await page
    .locator('.tile', { hasText: label })
    .locator('b', { hasText: /^[1-9]/ })
    .waitFor()
}

test.skipIf(!hasChromium)(
  'shows live figures, a lagging group, and a topic with its last messages; nothing is on the console',
  async () => {
    await load()
    await started()
    const { page, complaints, hosts } = await opened()
    await figure(page, 'published / s')
    await figure(page, 'received / s')
    await figure(page, 'p99 latency')
    const row = page.locator('tr', { hasText: 'billing' })
    await row.waitFor()
    expect(await row.locator('td').allTextContents()).toEqual([
      'billing',
      'orders',
      'shared',
      '30',
      expect.stringMatching(/s$|min$/),
      '0',
      '0',
      '0',
      '0',
      'moves',
    ])
    // A plot is drawn, and goes on.
    expect(await page.locator('.plot canvas').count()).toBe(3)
    const written = page.locator('tr', { hasText: 'trades' }).locator('td').nth(3)
    const before = await written.textContent()
    await expect.poll(() => written.textContent(), { timeout: 60_000 }).not.toBe(before)
    await page.getByRole('link', { name: 'trades' }).first().click()
    await page.locator('h1', { hasText: 'trades' }).waitFor()
    const first = page.locator('td.value').first()
    await expect
      .poll(() => first.textContent(), { timeout: 60_000 })
      .toMatch(/^\{"symbol":"BTC","price":50000,"size":\d+\}$/)
    const seen = await first.textContent()
    await expect.poll(() => first.textContent(), { timeout: 60_000 }).not.toBe(seen)
    await figure(page, 'written')
    // What a message says is text.
    await page.goto(`${server.url}/#/topic/orders`)
    await expect
      .poll(() => first.textContent(), { timeout: 60_000 })
      .toBe('{"id":29,"note":"<img src=x onerror=alert(1)>"}')
    expect(complaints).toEqual([])
    expect([...hosts]).toEqual([new URL(server.url).host])
    await page.context().close()
  },
  240_000,
)

test.skipIf(!hasChromium)(
  'reads messages by the door for WebSockets where there is one, and says so; else it asks, and says why',
  async () => {
    const broker = await serve({ dir: place, port: 0, webSocket: { port: 0 } })
    try {
      await load()
      const { webSocketUrl } = broker
      if (webSocketUrl === undefined) throw new Error('no door')
      server = await serveAdmin({ dir: place, port: 0, expectsBroker: true, webSocketUrl })
      const door = new URL(webSocketUrl).host
      expect((await ask('/')).headers.get('content-security-policy')).toContain(`connect-src 'self' ws://${door};`)
      expect(await (await ask('/api/door')).json()).toEqual({ url: webSocketUrl })
      // Not admitted: the door takes pages of its own port only, unless it was told of the dashboard.
      const refused = await opened('#/topic/orders')
      await refused.page.locator('.way', { hasText: 'asked for each second: ' }).waitFor()
      const first = (page: Page) => page.locator('td.value').first()
      await expect
        .poll(() => first(refused.page).textContent(), { timeout: 60_000 })
        .toBe('{"id":29,"note":"<img src=x onerror=alert(1)>"}')
      await refused.page.context().close()
      broker.admitDashboard(server.port)
      const asked: string[] = []
      const { page, complaints, hosts } = await opened('#/topic/trades')
      page.on('request', (request) => asked.push(new URL(request.url()).pathname))
      const sockets: string[] = []
      page.on('websocket', (socket) => sockets.push(new URL(socket.url()).host))
      await page.locator('.way', { hasText: 'live, by WebSocket' }).waitFor()
      await expect
        .poll(() => first(page).textContent(), { timeout: 60_000 })
        .toMatch(/^\{"symbol":"BTC","price":50000,"size":\d+\}$/)
      const seen = await first(page).textContent()
      await expect.poll(() => first(page).textContent(), { timeout: 60_000 }).not.toBe(seen)
      const written = page.locator('.tile', { hasText: 'written' }).locator('b')
      const before = await written.textContent()
      await expect.poll(() => written.textContent(), { timeout: 60_000 }).not.toBe(before)
      await figure(page, 'published / s')
      expect(await page.locator('td.value').count()).toBe(20)
      // What a message says is text here too; and one that comes later is there without being asked for.
      await page.goto(`${server.url}/#/topic/orders`)
      await expect
        .poll(() => first(page).textContent(), { timeout: 60_000 })
        .toBe('{"id":29,"note":"<img src=x onerror=alert(1)>"}')
      const orders = await hermes.topic('orders', { codec: json }).publisher()
      orders.publish({ id: 30, note: 'late' })
      await expect.poll(() => first(page).textContent(), { timeout: 60_000 }).toBe('{"id":30,"note":"late"}')
      expect(asked.filter((path) => path.endsWith('/messages'))).toEqual([])
      expect(complaints).toEqual([])
      expect(hosts.has(new URL(server.url).host)).toBe(true)
      expect(sockets.filter((host) => host !== door)).toEqual([])
      // The door closes: the page goes on by asking, and says so.
      await broker.close()
      await page.locator('.way', { hasText: 'asked for each second: ' }).waitFor()
      await page.context().close()
    } finally {
      await broker.close()
    }
  },
  240_000,
)

test('with authentication, the page is told of no door: it has no token to give there', async () => {
  server = await serveAdmin({ dir: place, port: 0, access: [boss], webSocketUrl: 'ws://127.0.0.1:9001' })
  expect(await (await ask('/api/door', boss.token)).json()).toEqual({})
  expect((await ask('/', boss.token)).headers.get('content-security-policy')).toContain("connect-src 'self';")
  expect((await ask('/api/door')).status).toBe(401)
})

test.skipIf(!hasChromium)(
  'is used by keyboard, on a phone, and in the dark',
  async () => {
    await load()
    await started()
    const { page, complaints } = await opened('', {
      viewport: { width: 360, height: 740 },
      colorScheme: 'dark',
      hasTouch: true,
      isMobile: true,
    })
    await figure(page, 'published / s')
    // No wider than the screen: tables are moved by themselves.
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360)
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(16, 21, 27)')
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toBe('To the figures')
    await page.keyboard.press('Enter')
    await expect.poll(() => page.evaluate('document.activeElement.id')).toBe('main')
    // From there to the first head of the table, which sorts.
    const head = page.locator('th', { hasText: 'disk bytes' }).locator('button')
    await head.focus()
    await page.keyboard.press('Enter')
    expect(await page.locator('th', { hasText: 'disk bytes' }).getAttribute('aria-sort')).toBe('descending')
    const filter = page.getByRole('searchbox', { name: 'Filter Topics by name' })
    await filter.fill('ord')
    await expect.poll(() => page.locator('section[aria-label="Topics"] tbody tr').count()).toBe(1)
    await page.getByRole('link', { name: 'orders' }).first().focus()
    // (The rows are drawn anew each second.)
    await page.waitForTimeout(2500)
    expect(await page.evaluate('document.activeElement.textContent')).toBe('orders')
    await page.keyboard.press('Enter')
    await page.locator('h1', { hasText: 'orders' }).waitFor()
    expect(complaints).toEqual([])
    await page.context().close()
  },
  240_000,
)

test.skipIf(!hasChromium)(
  'asks for a token as a browser does, and says when it gets no answer',
  async () => {
    await load()
    await started([boss])
    expect((await ask('/')).status).toBe(401)
    const { page } = await opened('', { httpCredentials: { username: 'me', password: boss.token } })
    await figure(page, 'published / s')
    await server.close()
    await page.locator('#state.lost', { hasText: 'no answer' }).waitFor()
    await page.context().close()
  },
  120_000,
)

test('the page and its parts come with a policy that lets nothing else in', async () => {
  await started()
  for (const [path, type] of [
    ['/', 'text/html'],
    ['/page/page.js', 'text/javascript'],
    ['/page/style.css', 'text/css'],
    ['/page/uplot.css', 'text/css'],
    ['/page/icon.svg', 'image/svg'],
  ] as const) {
    const response = await ask(path)
    expect([response.status, response.headers.get('content-type')]).toEqual([200, expect.stringContaining(type)])
    expect(response.headers.get('content-security-policy')).toMatch(/^default-src 'none'; script-src 'self';/)
    expect(await response.text()).not.toMatch(/https?:\/\/(?!www\.w3\.org|github\.com)/)
  }
  for (const path of ['/page/', '/page/../package.json', '/page/uplot-LICENSE.txt', '/page/__proto__', '/page.js'])
    expect((await ask(path)).status).toBe(404)
})

test('the last messages of a topic are decoded by its schema, for those that may subscribe to it', async () => {
  const values = {
    json: { big: 1 },
    msgpack: { bytes: new Uint8Array([1]), big: 2n ** 60n },
    raw: new Uint8Array([1, 2, 255]),
    text: 'grün "x"',
    orders: { id: 1 },
  }
  const codecs = { json, msgpack, raw, text, orders: json }
  for (const [name, codec] of Object.entries(codecs)) {
    const publisher = await hermes.topic(name, { codec: codec as typeof json }).publisher()
    for (let n = 0; n < 3; n++) publisher.publish(values[name as keyof typeof values] as never)
  }
  await (await hermes.topic('empty', { codec: json }).publisher()).close()
  const before = await hermes.metrics()
  await started([boss, guest])
  const last = async (topic: string, query = '') =>
    (await (await ask(`/api/topics/${topic}/messages${query}`, boss.token)).json()) as {
      value: string
      sequence: number
      bytes: number
      timeMs: number
    }[]
  const shown = (topic: string) => last(topic, '?last=1').then(([one]) => one?.value)
  expect(await shown('json')).toBe('{"big":1}')
  expect(await shown('msgpack')).toBe(`{"bytes":"AQ==","big":"${2n ** 60n}"}`)
  expect(await shown('raw')).toBe('AQL/')
  expect(await shown('text')).toBe('"grün \\"x\\""')
  expect((await last('json')).map(({ sequence }) => sequence)).toEqual([1, 2, 3])
  expect((await last('json', '?last=2'))[0]).toMatchObject({
    sequence: 2,
    bytes: 9,
    timeMs: expect.closeTo(Date.now(), -5),
  })
  expect(await last('empty')).toEqual([])
  const status = async (path: string, token: string) => (await ask(path, token)).status
  expect(await status('/api/topics/missing/messages', boss.token)).toBe(404)
  for (const query of ['?last=0', '?last=101', '?last=x', '?from=1', '?last=1&last=2'])
    expect(await status(`/api/topics/json/messages${query}`, boss.token)).toBe(400)
  expect(await status('/api/topics/orders/messages', guest.token)).toBe(200)
  // To publish is not to read.
  expect(await status('/api/topics/trades/messages', guest.token)).toBe(403)
  expect(await status('/api/topics/json/messages', guest.token)).toBe(403)
  expect((await ask('/api/topics/json/messages')).status).toBe(401)
  // Looking has changed no figure.
  const after = await hermes.metrics()
  expect(after.topics.map(({ received, subscribers }) => [received.messages, subscribers])).toEqual(
    before.topics.map(({ received, subscribers }) => [received.messages, subscribers]),
  )
})
