import { connect as connectTls } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AccessEntry } from '../../lib/broker/access.js'
import { serve } from '../../lib/broker/broker.js'
import { HermesError, open, text } from '../../lib/index.js'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/* A broker whose access entries and certificates change while it runs. */

let dir: string
beforeEach(() => {
  dir = makeFolder()
})
afterEach(() => removeFolder(dir))

const small = { codec: text, segmentBytes: 64 * 1024, maxPayloadBytes: 4096 }
const boss: AccessEntry = { name: 'boss', token: 'boss-boss-boss-boss', administer: true }
const user = { name: 'user', token: 'user-user-user-user' }
const limits = { maxConnections: 20, reservedConnections: 2, memberGraceMs: 60_000 }

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work
    return 'done'
  } catch (error) {
    if (error instanceof HermesError) return error.code
    throw error
  }
}

async function start(access: readonly AccessEntry[]) {
  const events: string[] = []
  const log = ({ event }: { event: string }) => events.push(event)
  const broker = await serve({ dir, port: 0, access, limits, log })
  const admin = await open(broker.url, { token: 'boss-boss-boss-boss' })
  await (await admin.topic('t', small).publisher()).publishAsync('first')
  return { broker, admin, events, reload: (...entries: AccessEntry[]) => broker.reload({ access: [boss, ...entries] }) }
}

describe('access entries that change', () => {
  it('lets newcomers in, and shuts those out whose token is known no more, also the connected ones', async () => {
    const { broker, admin, reload } = await start([boss])
    await using _broker = broker
    await using _admin = admin
    expect(await codeOf(open(broker.url, { token: user.token }))).toBe('UNAUTHORIZED')
    reload(user)
    const hermes = await open(broker.url, { token: user.token })
    const publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('mine')
    reload()
    expect(await codeOf(publisher.publishAsync('too late', { timeoutMs: 20_000 }))).toBe('UNAUTHORIZED')
    expect(await codeOf(open(broker.url, { token: user.token }))).toBe('UNAUTHORIZED')
    await hermes.close().catch(() => {})
    // Others have noticed nothing.
    expect(await codeOf(admin.topic('t', small).info())).toBe('done')
    expect(broker.connections).toBe(1)
  })

  it('ends what a connected client may do no more, and nothing else of it', async () => {
    const { broker, admin, events, reload } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    const hermes = await open(broker.url, { token: user.token, reconnect: false })
    const topic = hermes.topic('t', small)
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const jobs = (await topic.group('g', { from: 'earliest' }))[Symbol.asyncIterator]()
    expect((await jobs.next()).value?.value).toBe('first')
    const durable = await topic.subscriber({ name: 'd' })
    reload({ ...user, subscribe: ['t'] })
    expect(await codeOf(publisher.publishAsync('no', { timeoutMs: 20_000 }))).toBe('UNAUTHORIZED')
    expect(await codeOf(jobs.next())).toBe('UNAUTHORIZED')
    expect(await codeOf(durable.commit())).toBe('UNAUTHORIZED')
    await subscriber.ready({ timeoutMs: 20_000 })
    const got: string[] = []
    subscriber.poll((value) => got.push(value))
    expect(got).toEqual(['first'])
    expect(await codeOf(topic.publisher())).toBe('UNAUTHORIZED')
    expect(events.filter((event) => event === 'reloaded')).toHaveLength(1)
    expect(events).toContain('denied')
    // What the member held is with others at once, whatever its grace is.
    await using another = await admin.topic('t', small).group('g')
    const again = (await another[Symbol.asyncIterator]().next()).value
    expect(again).toMatchObject({ value: 'first', deliveries: 2 })
    await again?.ack()
    reload(user)
    await (await topic.publisher()).publishAsync('again')
    // (the job that was taken away can't be settled any more)
    await hermes.close({ timeoutMs: 10 }).catch(() => {})
  })

  it('tells a responder and a requester what has ended them, and fails nothing besides', async () => {
    const { broker, admin, reload } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    await (await admin.responder('calc', () => 1)).close()
    const hermes = await open(broker.url, { token: user.token })
    const responder = await hermes.responder('calc', () => 2)
    const requester = await hermes.requester('calc')
    expect(await requester.request(0, { timeoutMs: 20_000 })).toBe(2)
    const unhandled: unknown[] = []
    const note = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', note)
    try {
      reload()
      expect(await codeOf(responder.closed())).toBe('UNAUTHORIZED')
      await requester.closed()
      expect(await codeOf(requester.request(0))).toBe('UNAUTHORIZED')
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(unhandled).toEqual([])
    } finally {
      process.off('unhandledRejection', note)
    }
    await hermes.close({ timeoutMs: 10 }).catch(() => {})
  })

  it('has other bounds hold for what is open: bytes that may be stored', async () => {
    const { broker, admin, reload } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    const hermes = await open(broker.url, { token: user.token, reconnect: false })
    const publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('x'.repeat(4000))
    reload({ ...user, maxBytes: 5000 })
    await publisher.publishAsync('x'.repeat(4000))
    expect(await codeOf(publisher.publishAsync('x'.repeat(4000), { timeoutMs: 20_000 }))).toBe('LIMIT')
    await hermes.close().catch(() => {})
  })

  it('counts who administers anew, so that the reserve stays what it is', async () => {
    const { broker, admin, reload } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    const crowd = { name: 'crowd', token: 'crowd-crowd-crowd-crowd' }
    const clients = [await open(broker.url, { token: user.token })]
    for (let round = 0; round < 5; round++) {
      reload(crowd, { ...user, administer: false })
      reload(crowd, { ...user, administer: true })
    }
    // 20 in all, 2 of them for administrators, which there are now: 18 for others.
    while (clients.length < 1 + 18) clients.push(await open(broker.url, { token: crowd.token, reconnect: false }))
    await clients.pop()?.close()
    await expect.poll(() => broker.connections).toBe(19)
    // One administrator fewer, who counts among the others now.
    reload(crowd, user)
    expect(await codeOf(open(broker.url, { token: crowd.token, reconnect: false }))).toBe('LIMIT')
    await Promise.all(clients.map((one) => one.close()))
  })

  it('has a client come again by itself whose entry has another name', async () => {
    const { broker, admin, reload } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    await using hermes = await open(broker.url, { token: user.token })
    const publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('before')
    reload({ ...user, name: 'other' })
    await publisher.publishAsync('after', { timeoutMs: 20_000 })
    expect((await hermes.topic('t', small).info()).nextSequence).toBe(4)
  })

  it('changes nothing if anything is refused', async () => {
    const { broker, admin } = await start([boss, user])
    await using _broker = broker
    await using _admin = admin
    const refused: [options: object, code: string][] = [
      [{ access: [{ name: 'short', token: 'short' }] }, 'INVALID_ARGUMENT'],
      [{ access: 'all' }, 'INVALID_ARGUMENT'],
      [{ limits: {} }, 'UNKNOWN_OPTION'],
      [{ access: [], tls: { key: 'k', cert: 'c' } }, 'INVALID_ARGUMENT'],
    ]
    for (const [options, code] of refused)
      expect(() => broker.reload(options)).toThrow(expect.objectContaining({ code }))
    await using hermes = await open(broker.url, { token: user.token })
    expect(await codeOf(hermes.topic('t', small).info())).toBe('done')
    await using publicly = await serve({ dir: `${dir}-public`, host: '0.0.0.0', port: 0, access: [boss] })
    expect(() => publicly.reload({ access: [] })).toThrow(expect.objectContaining({ code: 'UNAUTHORIZED' }))
    await publicly.close()
    expect(() => publicly.reload({ access: [boss] })).toThrow(expect.objectContaining({ code: 'CLOSED' }))
    removeFolder(`${dir}-public`)
  })
})

describe.skipIf(!hasOpenssl())('certificates that change (made by openssl)', () => {
  const nameOf = (port: number, ca: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connectTls({ host: '127.0.0.1', port, ca, servername: 'localhost' }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      })
      socket.on('error', reject)
    })

  it('shows the new one from the next handshake on, and keeps the connections that there are', async () => {
    const first = certificate(dir, 'first')
    const second = certificate(dir, 'second')
    await using broker = await serve({ dir: `${dir}/data`, port: 0, tls: first })
    await using hermes = await open(broker.url, { tls: { ca: first.cert }, reconnect: false })
    const publisher = await hermes.topic('t', small).publisher()
    await publisher.publishAsync('by the first')
    broker.reload({ tls: second })
    expect(await nameOf(broker.port, second.cert)).toBe('second')
    await publisher.publishAsync('still by the first')
    expect(() => broker.reload({ tls: { ...second, ca: second.cert } })).toThrow(/restart/)
    expect(() => broker.reload({ tls: { key: first.key, cert: second.cert } })).toThrow(/does not belong/)
    expect(await nameOf(broker.port, second.cert)).toBe('second')
  })

  it('refuses TLS where none is spoken', async () => {
    await using broker = await serve({ dir: `${dir}/data`, port: 0 })
    expect(() => broker.reload({ tls: certificate(dir, 'first') })).toThrow(/restart/)
  })
})
