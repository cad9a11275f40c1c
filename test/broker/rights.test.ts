import { afterEach, beforeEach, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { HermesError, open, text } from '../../lib/index.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/* Every operation, tried with every combination of rights. */

let dir: string
beforeEach(() => {
  dir = makeFolder()
})
afterEach(() => removeFolder(dir))

const boss = 'boss-boss-boss-boss'
const small = { codec: text, segmentBytes: 64 * 1024, maxPayloadBytes: 4096 }
const lists = { none: [], other: ['other*'], topic: ['t*'], all: ['*'] } as const
type List = keyof typeof lists

async function outcome(work: () => Promise<unknown>): Promise<string> {
  try {
    await work()
    return 'done'
  } catch (error) {
    if (error instanceof HermesError) return error.code
    throw error
  }
}

it('lets each token do what its entry says, and nothing else', async () => {
  const entries: { name: string; token: string; publish: List; subscribe: List; administer: boolean }[] = []
  for (const publish of Object.keys(lists) as List[])
    for (const subscribe of Object.keys(lists) as List[])
      for (const administer of [false, true]) {
        const name = `${publish}-${subscribe}-${administer}`
        entries.push({ name, token: `${name}-${'x'.repeat(16)}`, publish, subscribe, administer })
      }
  await using broker = await serve({
    dir,
    port: 0,
    limits: { maxHandshakesPerSecond: 10_000 },
    access: [
      { name: 'boss', token: boss, administer: true },
      ...entries.map((one) => ({ ...one, publish: lists[one.publish], subscribe: lists[one.subscribe] })),
    ],
  })
  await using admin = await open(broker.url, { token: boss })
  const kept = { bytes: 1024 * 1024 }
  await (await admin.topic('t', { ...small, retention: kept }).publisher()).publishAsync('x')
  const covers = (list: List) => list === 'topic' || list === 'all'
  for (const { name, token, publish, subscribe, administer } of entries) {
    const may = { publish: covers(publish), subscribe: covers(subscribe) }
    const made = `t-${name}`
    const making = (right: boolean) => (right ? (administer ? 'done' : 'NOT_FOUND') : 'UNAUTHORIZED')
    await using hermes = await open(broker.url, { token, reconnect: false })
    const t = hermes.topic('t', { codec: text })
    const expected: Record<string, string> = {}
    const got: Record<string, string> = {}
    const tries = async (what: string, wanted: string, work: () => Promise<unknown>) => {
      expected[what] = wanted
      got[what] = await outcome(work)
    }
    const allowed = (right: boolean) => (right ? 'done' : 'UNAUTHORIZED')
    await tries('info', allowed(may.publish || may.subscribe), () => t.info())
    await tries('publish', allowed(may.publish), async () => (await t.publisher()).publishAsync('y'))
    await tries('publish synced', allowed(may.publish), async () =>
      (await t.publisher({ durability: 'synced' })).publishAsync('y'),
    )
    await tries('subscribe', allowed(may.subscribe), async () =>
      (await t.subscriber({ from: 'earliest' })).ready({ timeoutMs: 20_000 }),
    )
    await tries('make by publishing', making(may.publish), () => hermes.topic(`${made}-p`, small).publisher())
    await tries('make by subscribing', making(may.subscribe), () =>
      hermes.topic(`${made}-s`, small).subscriber({ create: true }),
    )
    const managing = (right: boolean) => (right && administer ? 'done' : 'UNAUTHORIZED')
    const either = may.publish || may.subscribe
    await tries('list groups', allowed(may.subscribe), () => hermes.admin.groups('t'))
    // (there is no such group: so this is what who may is told)
    const asked = (right: boolean) => (right ? 'NOT_FOUND' : 'UNAUTHORIZED')
    await tries('describe a group', asked(may.subscribe), () => hermes.admin.describeGroup('t', 'g'))
    await tries('reset a group', asked(either && administer), () => hermes.admin.resetGroup('t', 'g', 1))
    await tries('delete a group', asked(either && administer), () => hermes.admin.deleteGroup('t', 'g'))
    await tries('make a topic', managing(either), () => hermes.admin.createTopic(`${made}-d`, small))
    await tries('alter a topic', managing(either), () => hermes.admin.alterTopic('t', { retention: kept }))
    await tries('delete a topic', managing(either), () => hermes.admin.deleteTopic(`${made}-d`))
    // It is not refused to name a retention, but it changes nothing.
    const shorter = hermes.topic('t', { codec: text, retention: { bytes: 65_536 } })
    await tries('publish with retention', allowed(may.publish), () => shorter.publisher())
    await tries('subscribe with retention', allowed(may.subscribe), () => shorter.subscriber({ create: true }))
    expect(got, name).toEqual(expected)
    const { retention } = await admin.info('t')
    const changed = administer && (may.publish || may.subscribe)
    expect(retention, name).toEqual(changed ? { bytes: 65_536 } : kept)
    if (changed) await (await admin.topic('t', { codec: text, retention: kept }).publisher()).close()
    const seen = await hermes.topics()
    expect(seen.includes('t'), name).toBe(may.publish || may.subscribe)
    if (publish !== 'all' && subscribe !== 'all' && !may.publish && !may.subscribe) expect(seen, name).toEqual([])
    const health = await hermes.health()
    expect(health.canPublish, name).toBe(true)
  }
  const names = await admin.topics()
  const makers = entries.filter((one) => one.administer)
  const wanted = makers.flatMap(({ name, publish, subscribe }) => [
    ...(covers(publish) ? [`t-${name}-p`] : []),
    ...(covers(subscribe) ? [`t-${name}-s`] : []),
  ])
  expect(names).toEqual(['t', ...wanted].sort())
}, 180_000)
