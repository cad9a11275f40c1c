import { afterAll, beforeAll, expect, test } from 'vitest'
import { open, text } from '../../lib/index.js'
import { usePlace } from '../cli/helpers.js'
import { failure } from '../helpers/failure.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'
import { pause } from '../helpers/receive.js'

const it = natsMissing === undefined ? test : test.skip
const place = usePlace()

let cluster: NatsCluster | undefined
beforeAll(async () => {
  if (natsMissing === undefined) cluster = await startNats(1)
}, 60_000)
afterAll(() => cluster?.close())
const url = () => (cluster as NatsCluster).url

it('has one leader of a name at a time; who steps down is followed at once', async () => {
  await using first = await open(url())
  await using second = await open(url())
  const one = await first.lead('a', { leaseMs: 60_000 })
  await using other = await second.lead('b', { leaseMs: 60_000 })
  expect(other.signal.aborted).toBe(false)
  let isFollowed = false
  const following = second.lead('a', { leaseMs: 60_000 }).then((leadership) => {
    isFollowed = true
    return leadership
  })
  await pause(1500)
  expect(isFollowed).toBe(false)
  expect(one.signal.aborted).toBe(false)
  const stepped = performance.now()
  await one.release()
  expect(one.signal.aborted).toBe(true)
  const two = await following
  // (by its entry, and not as a lease that has run out)
  expect(performance.now() - stepped).toBeLessThan(30_000)
  expect(two.revision).toBeGreaterThan(one.revision)
  const stop = new AbortController()
  const waiting = first.lead('a', { signal: stop.signal })
  stop.abort()
  await failure('ABORTED', () => waiting)
  await second.close()
  expect(two.signal.aborted).toBe(true)
})

it('refuses what an old leader still sends, once the new one has published', async () => {
  await using first = await open(url())
  await using second = await open(url())
  const old = await first.lead('fenced')
  const stale = await first.topic('orders', { codec: text }).publisher({ leadership: old })
  await stale.publishAsync('old 1')
  await old.release()
  const now = await second.lead('fenced')
  const fresh = await second.topic('orders', { codec: text }).publisher({ leadership: now })
  // Nobody has heard of the new one yet.
  await stale.publishAsync('old 2')
  await fresh.publishAsync('new 1')
  await failure('LEASE_LOST', () => stale.publishAsync('old 3'))
  await fresh.publishAsync('new 2')
  await failure('LEASE_LOST', () => first.topic('orders', { codec: text }).publisher({ leadership: old }))
  const reader = await second.topic('orders', { codec: text }).subscriber({ from: 'earliest', until: 'latest' })
  const values: string[] = []
  for await (const { value } of reader) values.push(value)
  expect(values).toEqual(['old 1', 'old 2', 'new 1', 'new 2'])
  await stale.close().catch(() => {})
  await failure('INVALID_ARGUMENT', () => first.topic('orders').publisher({ leadership: {} as never }))
  await using local = await open(place.folder)
  await failure('UNSUPPORTED', () => local.lead('a'))
  await failure('UNSUPPORTED', () => local.topic('orders').publisher({ leadership: now }))
})

it('runs a command once, and stands by until the leader is killed', async () => {
  const lead = (what: string) =>
    place.start([
      'lead',
      'job',
      '--url',
      url(),
      '--lease',
      '2s',
      '--',
      'sh',
      '-c',
      `echo ${what} $HERMES_LEAD_REVISION; exec sleep 600`,
    ])
  const one = lead('one')
  await one.until('one ')
  const two = lead('two')
  await two.until('Waiting')
  await pause(3000)
  expect(two.printed()).toBe('')
  one.child.kill('SIGKILL')
  await two.until('two ')
  const [a, b] = [one, two].map(({ printed }) => Number(printed().split(' ')[1]))
  expect(b).toBeGreaterThan(a as number)
  two.child.kill('SIGTERM')
  expect((await two.ended).code).toBe(143)
  expect(await place.hermes(['lead', 'job', '--url', url(), '--', 'sh', '-c', 'exit 7'])).toMatchObject({ code: 7 })
  expect(await place.hermes(['lead', 'job', '--url', url(), '--', './nothing'])).toMatchObject({ code: 3 })
  expect(await place.hermes(['lead', 'job', '--', 'true'])).toMatchObject({ code: 3 })
}, 60_000)
