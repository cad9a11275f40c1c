import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type Broker, serve } from '../../lib/broker/broker.js'
import * as browserEntry from '../../lib/browser.js'
import * as index from '../../lib/index.js'
import { hasChromium, launchChromium } from '../helpers/chromium.js'
import { makeFolder, removeFolder, root } from '../helpers/folder.js'

const token = 'browser-browser-browser'
const page = '<!doctype html><meta charset="utf-8"><title>test</title><script src="/bundle.js"></script>'

/** What runs in the page: `window.work` is called by the test. */
const program = `
import { HermesError, json, msgpack, open, raw, struct, text, ascii, f64, u32, varUtf8, crc32, validated, version } from 'hermes-mq'
const Trade = struct({ symbol: ascii(8), price: f64, size: u32, note: varUtf8(100) })
const codecs = { json, msgpack, raw, text, trade: Trade }
window.failure = async (url, options, place) => {
  try {
    await open(place ?? url, options)
    return 'no error'
  } catch (error) {
    return error instanceof HermesError ? error.code + ': ' + error.message : 'not ours: ' + error
  }
}
window.work = async (url, token) => {
  const hermes = await open(url, { token })
  const said = {}
  const values = {
    json: { a: [1, 'grün', null] }, msgpack: { b: new Uint8Array([1, 2, 3]), n: 7 }, raw: new Uint8Array([0, 255, 7]),
    text: 'hello \\u{1f600}', trade: { symbol: 'BTC', price: 50000.5, size: 3, note: 'from a page' },
  }
  for (const [name, codec] of Object.entries(codecs)) {
    const topic = hermes.topic('web-' + name, { codec })
    const publisher = await topic.publisher()
    publisher.publish(values[name])
    await publisher.flush()
    for await (const { value, sequence } of await topic.subscriber({ from: 'earliest' })) {
      said[name] = [sequence, name === 'raw' ? [...value] : name === 'msgpack' ? [[...value.b], value.n] : name === 'trade' ? { ...value } : value]
      break
    }
  }
  const ticks = hermes.topic('web-many', { codec: struct({ n: u32 }) })
  const publisher = await ticks.publisher()
  const subscriber = await ticks.subscriber({ from: 'earliest' })
  for (let n = 0; n < 50000; n++) {
    if (!publisher.publish({ n })) await publisher.ready()
  }
  await publisher.flush()
  let sum = 0, seen = 0
  while (seen < 50000) {
    await subscriber.poll(({ n }) => { sum += n; seen++ }) || await new Promise((resolve) => setTimeout(resolve, 1))
  }
  const group = await hermes.topic('web-json', { codec: json }).group('workers', { from: 'earliest' })
  let handled
  for await (const job of group) { handled = job.value; job.ack(); break }
  await group.close()
  const topics = (await hermes.topics()).filter((name) => name.startsWith('web-')).sort()
  await hermes.close()
  return { said, sum, handled, topics, crc: crc32(new Uint8Array(1000)), version }
}
`

let folder: string
let server: Server
let browser: Browser
let broker: Broker

const origin = (): string => `http://127.0.0.1:${(server.address() as AddressInfo).port}`

async function bundle(): Promise<readonly string[]> {
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/hermes-mq'))
  writeFileSync(join(folder, 'page.js'), program)
  const { metafile, warnings } = await build({
    entryPoints: [join(folder, 'page.js')],
    outfile: join(folder, 'bundle.js'),
    bundle: true,
    platform: 'browser',
    format: 'iife',
    target: 'es2022',
    metafile: true,
    logLevel: 'silent',
  })
  expect(warnings).toEqual([])
  return Object.keys(metafile.inputs)
}

beforeAll(async () => {
  folder = makeFolder()
  const inputs = await bundle()
  // No module of Node, no addon, no package for Node's sockets.
  expect(
    inputs.filter((name) =>
      /node:|node_modules\/ws\/|\/(local|store|broker|ring)\/|native\/(addon|load)\.js/.test(name),
    ),
  ).toEqual([])
  server = createServer(({ url }, response) => {
    const isBundle = url === '/bundle.js'
    response.setHeader('Content-Type', isBundle ? 'text/javascript' : 'text/html')
    // (Without 'unsafe-eval', as pages are that take security seriously: codecs do without generated code then.)
    response.setHeader('Content-Security-Policy', "default-src 'self'; connect-src ws://127.0.0.1:*")
    response.end(isBundle ? readFileSync(join(folder, 'bundle.js')) : page)
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  if (hasChromium) browser = await launchChromium()
}, 180_000)

afterEach(() => broker?.close())

afterAll(async () => {
  await browser?.close()
  server?.close()
  removeFolder(folder)
})

async function opened() {
  const tab = await browser.newPage()
  const complaints: string[] = []
  tab.on('console', (message) => {
    // A codec tries once whether code may be generated; the browser tells that it may not.
    if (!/'default-src' is used as a fallback|unsafe-eval/.test(message.text())) complaints.push(message.text())
  })
  tab.on('pageerror', (error) => complaints.push(String(error)))
  await tab.goto(origin())
  expect(complaints).toEqual([])
  return { tab, complaints }
}

test('the entry for browsers has all names of the package but the rings, and the same things', () => {
  const rings = ['MpmcRing', 'SpscByteRing', 'SpscRing', 'removeRing']
  expect(Object.keys(browserEntry).sort()).toEqual(
    Object.keys(index)
      .filter((name) => !rings.includes(name))
      .sort(),
  )
  const { json, struct, HermesError } = browserEntry
  expect([json, struct, HermesError]).toEqual([index.json, index.struct, index.HermesError])
})

test.skipIf(!hasChromium)(
  'a page publishes, subscribes and is a member of a group, with all codecs',
  async () => {
    broker = await serve({
      dir: join(folder, 'data'),
      port: 0,
      access: [{ name: 'page', token, administer: true }],
      webSocket: { port: 0, origins: [origin()] },
    })
    const { tab, complaints } = await opened()
    const told = await tab.evaluate(
      ([url, secret]) =>
        (globalThis as never as { work(...given: string[]): Promise<unknown> }).work(url as string, secret as string),
      [broker.webSocketUrl as string, token],
    )
    expect(told).toEqual({
      said: {
        json: [1, { a: [1, 'grün', null] }],
        msgpack: [1, [[1, 2, 3], 7]],
        raw: [1, [0, 255, 7]],
        text: [1, 'hello \u{1f600}'],
        trade: [1, { symbol: 'BTC', price: 50000.5, size: 3, note: 'from a page' }],
      },
      sum: (50_000 * 49_999) / 2,
      handled: { a: [1, 'grün', null] },
      topics: ['web-json', 'web-many', 'web-msgpack', 'web-raw', 'web-text', 'web-trade'],
      crc: index.crc32(new Uint8Array(1000)),
      version: index.version,
    })
    expect(complaints).toEqual([])
    await tab.close()
  },
  120_000,
)

test.skipIf(!hasChromium)(
  'a page is told what it can not do: no token, another origin, no directory, no certificates',
  async () => {
    broker = await serve({
      dir: join(folder, 'data'),
      port: 0,
      access: [{ name: 'page', token, administer: true }],
      webSocket: { port: 0, origins: [origin()] },
    })
    const { tab } = await opened()
    const ask = (options: object, place = broker.webSocketUrl as string) =>
      tab.evaluate(
        ([url, given]) =>
          (globalThis as never as { failure(url: string, options: object): Promise<string> }).failure(
            url as string,
            given as object,
          ),
        [place, options] as const,
      )
    expect(await ask({})).toMatch(/^UNAUTHORIZED: /)
    expect(await ask({ token: 'wrong' })).toMatch(/^UNAUTHORIZED: /)
    expect(await ask({ token }, './data')).toMatch(/^UNSUPPORTED: There is no placement 'file:'. Use 'ws:/)
    expect(await ask({ token }, 'tcp://127.0.0.1:9000')).toMatch(/^UNSUPPORTED: /)
    expect(await ask({ token, compression: 'deflate' })).toMatch(/^UNSUPPORTED: /)
    await broker.close()
    broker = await serve({
      dir: join(folder, 'data'),
      port: 0,
      access: [{ name: 'page', token, administer: true }],
      webSocket: { port: 0, origins: ['https://another.example'] },
    })
    expect(await ask({ token })).toMatch(/^CONNECTION_FAILED: .*--ws-origin/)
    await tab.close()
  },
  120_000,
)
