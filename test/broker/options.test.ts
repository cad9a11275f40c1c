import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type BrokerOptions, serve } from '../../lib/broker/index.js'
import { checkBrokerOptions } from '../../lib/broker/options.js'
import { open, text } from '../../lib/index.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, removeFolder } from '../helpers/folder.js'

const folder = foldersPerTest()
const small = { codec: text, segmentBytes: 65_536 }

describe('what a broker is asked to serve', () => {
  it('serves shared memory and file: URLs, as open() takes them', async () => {
    const name = `serve-${process.pid}`
    onTestFinished(() => removeFolder(`/dev/shm/hermes-${name}`))
    for (const place of [`shm:${name}`, pathToFileURL(folder()).href]) {
      await using broker = await serve({ dir: place, port: 0 })
      await using remote = await open(broker.url)
      await (await remote.topic('t', small).publisher()).publishAsync('x')
      await using local = await open(place, { create: false })
      expect(await local.topics()).toEqual(['t'])
    }
  })

  it('refuses what has no directory, and makes none of its name', async () => {
    for (const dir of ['ring:market', 'tcp://127.0.0.1:9000', 'http://x']) {
      const error = await failure('UNSUPPORTED', () => serve({ dir, port: 0 }))
      expect(error.message).toBe(`A broker serves a directory or 'shm:name', not '${dir}'.`)
    }
    await failure('INVALID_NAME', () => serve({ dir: 'shm:../x', port: 0 }))
    await failure('INVALID_ARGUMENT', () => serve({ dir: '~/data', port: 0 }))
  })
})

describe('where it is to listen', () => {
  it('says what to do where it can not', async () => {
    await using broker = await serve({ dir: folder(), port: 0 })
    const taken = await failure('IO_FAILED', () => serve({ dir: folder(), port: broker.port }))
    expect(taken.message).toBe(
      `Can't listen on 127.0.0.1:${broker.port}: another program listens there. End it, or give another port (0: any that is free).`,
    )
    const elsewhere = await failure('IO_FAILED', () =>
      serve({ dir: folder(), port: 0, host: '192.0.2.1', insecure: true }),
    )
    expect(elsewhere.message).toContain('this machine has no such address')
  })
})

describe.skipIf(!hasOpenssl())('its certificate (made by openssl)', () => {
  const keys = mkdtempSync(join(tmpdir(), 'hermes-tls-'))
  const server = certificate(keys, 'server')
  const other = certificate(keys, 'other')

  it('says which part is no use, in plain words', async () => {
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'
    const cases: [tls: unknown, message: RegExp][] = [
      [{ key: 'server.key', cert: server.cert }, /'tls.key' must be a PEM text.*read the file first/],
      [{ key: server.key, cert: 5 }, /'tls.cert' must be a PEM text or a Buffer of one, not 5/],
      [{ key: server.key, cert: broken }, /'tls.cert' holds no certificate that can be read/],
      [{ ...server, ca: broken }, /'tls.ca' holds no certificate that can be read/],
      [{ key: server.cert, cert: server.cert }, /'tls.key' holds no private key that can be read/],
      [{ key: other.key, cert: server.cert }, /'tls.key' does not belong to 'tls.cert'/],
    ]
    for (const [tls, message] of cases) {
      const error = await failure('INVALID_ARGUMENT', () =>
        serve({ dir: folder(), port: 0, tls: tls as NonNullable<BrokerOptions['tls']> }),
      )
      expect(error.message).toMatch(message)
      expect(error.message).not.toMatch(/error:0|routines/)
    }
    await (await serve({ dir: folder(), port: 0, tls: { key: Buffer.from(server.key), cert: server.cert } })).close()
  })
})

describe('values that a beginner gives', () => {
  const entry = { name: 'a', token: 'x'.repeat(24) }
  it.each([
    ['a log that is no function', { log: console }, /'log' must be a function/],
    [
      'a pattern in place of a list',
      { access: [{ ...entry, publish: 'orders.*' }] },
      /'publish' of 'a' must be a list/,
    ],
    ['the same of subscribe', { access: [{ ...entry, subscribe: 'a' }] }, /'subscribe' of 'a' must be a list/],
    ['the same of consume', { access: [{ ...entry, consume: 'a' }] }, /'consume' of 'a' must be a list/],
  ])('%s is refused in words', (_, options, message) => {
    const given = { dir: 'somewhere', ...options } as unknown as BrokerOptions
    expect(() => checkBrokerOptions(given)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
    expect(() => checkBrokerOptions(given)).toThrow(message)
  })
})
