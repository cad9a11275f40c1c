import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { open, text } from '../../lib/index.js'
import { native } from '../../lib/native/addon.js'
import type { NativeReactorClass } from '../../lib/native/reactor-types.js'
import { certificate } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

let dir: string
const lines: { readonly event: string; readonly [fact: string]: unknown }[] = []

beforeEach(() => {
  dir = makeFolder()
  lines.length = 0
})
afterEach(() => removeFolder(dir))

const options = (more: Partial<BrokerOptions>): BrokerOptions => ({
  dir: join(dir, 'data'),
  port: 0,
  log: (line) => lines.push(line),
  ...more,
})

/** Whether a message goes through a broker with these options. */
async function works(more: Partial<BrokerOptions>, ca?: string): Promise<void> {
  await using broker = await serve(options(more))
  await using hermes = await open(broker.url, ca === undefined ? {} : { tls: { ca } })
  const topic = hermes.topic('t', { codec: text })
  const publisher = await topic.publisher()
  await publisher.publishAsync('hello')
  const subscriber = await topic.subscriber({ from: 'earliest' })
  for await (const { value } of subscriber) {
    expect(value).toBe('hello')
    break
  }
}

/** As with an addon that was built before there was a reactor. */
async function withoutReactor(work: () => Promise<void>): Promise<void> {
  const addon = native as { Reactor?: NativeReactorClass | undefined }
  const made = addon.Reactor
  addon.Reactor = undefined
  try {
    await work()
  } finally {
    addon.Reactor = made
  }
}

describe('the engine', () => {
  test('is the one that was asked for, each of which works', async () => {
    for (const engine of ['node', 'epoll', 'auto'] as const) await works({ engine })
    expect(lines.filter(({ event }) => event === 'engine-unavailable')).toEqual([])
  })

  test('of another name is refused', async () => {
    const wrong = options({ engine: 'kqueue' as never })
    await expect(serve(wrong)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: /epoll/ })
  })

  test('uring is refused as yet, and the error says what to take', async () => {
    await expect(serve(options({ engine: 'uring' }))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining("'epoll'"),
    })
  })

  test('epoll speaks no TLS, and says so; auto takes node for it', async () => {
    const { key, cert } = certificate(dir, 'broker')
    await expect(serve(options({ engine: 'epoll', tls: { key, cert } }))).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining("'auto'"),
    })
    await works({ engine: 'auto', tls: { key, cert } }, cert)
    expect(lines.filter(({ event }) => event === 'engine-unavailable')).toEqual([])
  })

  test('where the addon has none, epoll says so, and auto takes node and says that once', async () => {
    await withoutReactor(async () => {
      await expect(serve(options({ engine: 'epoll' }))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
      await works({ engine: 'auto' })
      await works({ engine: 'node' })
    })
    const told = lines.filter(({ event }) => event === 'engine-unavailable')
    expect(told).toMatchObject([{ level: 'warn', engine: 'epoll', message: expect.stringContaining('addon') }])
  })
})

describe('a process whose broker has the engine epoll', () => {
  const run = (what: string) =>
    spawnSync(process.execPath, [join(import.meta.dirname, 'epoll-process.mjs'), dir, what], {
      encoding: 'utf8',
      timeout: 60_000,
    })

  test('ends by itself once the broker is closed', () => {
    const { status, stdout, stderr } = run('close')
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: 'done\n', stderr: '' })
  })

  test('goes on when the worker of a broker that is busy is terminated', () => {
    const { status, signal, stdout, stderr } = run('terminate')
    expect({ status, signal, stdout, stderr }).toEqual({ status: 0, signal: null, stdout: 'done\n', stderr: '' })
  }, 90_000)
})
