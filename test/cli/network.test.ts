import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { flipBit, segmentFiles } from '../helpers/log-files.js'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place

describe('serve, sub and pub from three terminals', () => {
  test('sub --duration prints what pub sends meanwhile, and ends by itself', async () => {
    const { url, child, ended } = await place.serve(['--dir', 'served'])
    const sub = start(['sub', 'quotes', '--url', url, '--await', '--duration', '4s'])
    await sub.until('Waiting for topic')
    const schema = '{"symbol":"ascii(8)","price":"f64"}'
    const values = ['{"symbol":"BTC","price":50000}', '{"symbol":"ETH","price":2500.5}']
    const first = await hermes([
      'pub',
      'quotes',
      '--url',
      url,
      '--codec',
      'struct',
      '--schema',
      schema,
      values[0] ?? '',
    ])
    expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('published 1 message')])
    await sub.until('BTC')
    // The rest comes from a process beside the broker, without it.
    expect((await hermes(['pub', 'quotes', '--dir', 'served', values[1] ?? ''])).code).toBe(0)
    const { code, lines } = await sub.ended
    expect([code, lines]).toEqual([0, values])
    child.kill('SIGTERM')
    expect((await ended).code).toBe(143)
  })

  test('topics, info, tail and replay work through a broker', async () => {
    const { url } = await place.serve(['--dir', 'served'])
    const there = ['--url', url]
    const file = place.file('prices.csv', 'n,price\n1,10.5\n2,11\n')
    expect((await hermes(['replay', file, 'prices', '--speed', 'max', ...there])).code).toBe(0)
    expect((await hermes(['topics', ...there])).lines).toEqual(['prices'])
    const info = JSON.parse((await hermes(['info', 'prices', '--json', ...there])).stdout)
    expect(info).toMatchObject({ name: 'prices', nextSequence: 3 })
    expect((await hermes(['tail', 'prices', ...there])).lines).toEqual(['{"n":1,"price":10.5}', '{"n":2,"price":11}'])
  })
})

describe('hermes ping', () => {
  test('says how long a broker took to answer', async () => {
    const { url } = await place.serve(['--dir', 'served'])
    const { code, stdout, stderr } = await hermes(['ping', '--url', url])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^tcp:\/\/\S+: hermes-mq\/\S+, connected in [\d.]+ ms, answered in [\d.]+ ms\n$/)
    expect((await hermes(['ping', '--url', url, '--count', '5'])).stdout).toMatch(/5 answers: min [\d.]+, median/)
    const pong = JSON.parse((await hermes(['ping', '--url', url, '--count', '3', '--json'])).stdout)
    expect(pong).toMatchObject({ url, server: expect.stringContaining('hermes-mq/') })
    expect([pong.handshakeMs > 0, pong.roundTripsMs.length]).toEqual([true, 3])
  })

  test('fails where nobody answers, and says which way', async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const address = silent.address()
    const port = typeof address === 'object' ? address?.port : 0
    try {
      const { url } = await place.serve(['--dir', 'served'], { env: { HERMES_TOKEN: 'twelve-letters-and-more' } })
      for (const [args, wanted, text] of [
        [['--url', 'tcp://127.0.0.1:1'], 12, 'CONNECTION_FAILED'],
        [['--url', `tcp://127.0.0.1:${port}`, '--timeout', '300ms'], 11, 'TIMED_OUT'],
        [['--url', url], 4, 'UNAUTHORIZED'],
        [[], 2, '--url'],
        [['--dir', 'served'], 2, '--url'],
      ] as const) {
        const { code, stdout, stderr } = await hermes(['ping', ...args], { env: { HERMES_TOKEN: '' } })
        expect([code, stdout, stderr]).toEqual([wanted, '', expect.stringContaining(text)])
      }
      const known = await hermes(['ping', '--url', url], { env: { HERMES_TOKEN: 'twelve-letters-and-more' } })
      expect(known.code).toBe(0)
    } finally {
      silent.close()
    }
  })
})

test.each(['directory', 'broker'])(
  'sub and tail stop at damage, or go on behind it with --skip-damage: %s',
  async (by) => {
    await hermes(['pub', 'a', 'one', 'two', 'three', '--dir', 'served'])
    const [file = ''] = segmentFiles(join(place.folder, 'served'), 'a')
    flipBit(file, 256 + 40 + 33)
    const where = by === 'broker' ? ['--url', (await place.serve(['--dir', 'served'])).url] : ['--dir', 'served']
    for (const args of [
      ['sub', 'a', '--from', 'earliest', '--end'],
      ['tail', 'a'],
    ]) {
      const stopped = await hermes([...args, ...where])
      expect([stopped.code, stopped.lines]).toEqual([5, ['one']])
      const skipped = await hermes([...args, ...where, '--skip-damage'])
      expect([skipped.code, skipped.stderr, skipped.lines]).toEqual([0, '', ['one', 'three']])
    }
  },
)

test.skipIf(!hasOpenssl())(
  'a broker that wants certificates is told by the environment (made by openssl)',
  async () => {
    certificate(place.folder, 'authority')
    for (const name of ['server', 'client']) certificate(place.folder, name, 'authority')
    const keys = ['--tls-key', 'server.key', '--tls-cert', 'server.pem', '--tls-ca', 'authority.pem']
    const { url } = await place.serve(['--dir', 'served', ...keys])
    expect(url).toMatch(/^tls:/)
    const env = { HERMES_TLS_CA: 'authority.pem', HERMES_TLS_CERT: 'client.pem', HERMES_TLS_KEY: 'client.key' }
    expect((await hermes(['ping', '--url', url], { env })).stderr).toBe('')
    expect((await hermes(['pub', 'a', 'hello', '--url', url], { env })).code).toBe(0)
    expect((await hermes(['tail', 'a', '--url', url], { env })).stdout).toBe('hello\n')
    const stranger = await hermes(['ping', '--url', url], { env: { HERMES_TLS_CA: 'authority.pem' } })
    expect([stranger.code, stranger.stdout]).toEqual([12, ''])
    const missing = await hermes(['ping', '--url', url], { env: { HERMES_TLS_CA: 'nowhere.pem' } })
    expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining('nowhere.pem')])
  },
)

test.skipIf(!hasOpenssl())(
  'file names in a configuration are relative to its file (certificates made by openssl)',
  async () => {
    const folder = join(place.folder, 'etc')
    mkdirSync(folder)
    certificate(folder, 'server')
    const tls = { key: 'server.key', cert: join(folder, 'server.pem') }
    writeFileSync(join(folder, 'hermes.json'), JSON.stringify({ tls }))
    const { url } = await place.serve(['--dir', 'served', '--config', 'etc/hermes.json'])
    expect(url).toMatch(/^tls:/)
    expect((await hermes(['ping', '--url', url], { env: { HERMES_TLS_CA: 'etc/server.pem' } })).stderr).toBe('')
    writeFileSync(join(folder, 'hermes.json'), JSON.stringify({ tls: { ...tls, key: 'gone.key' } }))
    const lost = await hermes(['serve', '--port', '0', '--config', 'etc/hermes.json'])
    expect([lost.code, lost.stderr]).toEqual([3, expect.stringContaining(join(folder, 'gone.key'))])
    writeFileSync(join(folder, 'hermes.json'), JSON.stringify({ tls: { ...tls, key: 7 } }))
    const wrong = await hermes(['serve', '--port', '0', '--config', 'etc/hermes.json'])
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("'tls.key' in etc/hermes.json")])
  },
)

describe('pub while its broker is gone', () => {
  test('says that it retries, ends soon after SIGTERM, and does not end well', async () => {
    const server = await place.serve(['--dir', 'served'])
    const pub = start(['pub', 'news', '--url', server.url, '--codec', 'text'])
    pub.child.stdin?.write('first\n')
    const stored = async () => {
      const { code, stdout } = await hermes(['info', 'news', '--url', server.url, '--json'])
      return code === 0 && JSON.parse(stdout).nextSequence === 2
    }
    while (!(await stored()));
    server.child.kill('SIGKILL')
    await pub.until('connection lost, retrying; 0 messages unacknowledged')
    pub.child.stdin?.write('second\n')
    await new Promise((resolve) => setTimeout(resolve, 200))
    const begun = performance.now()
    pub.child.kill('SIGTERM')
    const { code, stderr } = await pub.ended
    expect(performance.now() - begun).toBeLessThan(15_000)
    expect(code).not.toBe(0)
    expect(stderr).toContain('closed with 1 message that is not acknowledged')
  })
})
