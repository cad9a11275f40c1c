import { afterAll, beforeAll, expect, test } from 'vitest'
import { json, open } from '../../lib/index.js'
import { usePlace } from '../cli/helpers.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'

const it = natsMissing === undefined ? test : test.skip
const place = usePlace()

let cluster: NatsCluster | undefined
beforeAll(async () => {
  if (natsMissing === undefined) cluster = await startNats(1)
}, 60_000)
afterAll(() => cluster?.close())
const url = () => (cluster as NatsCluster).url
const hermes = (...args: string[]) => place.hermes([...args, '--url', url()])

it('looks after topics and groups of a cluster, and shows what is known of them', async () => {
  expect(await hermes('topics', 'create', 'jobs', '--codec', 'json')).toMatchObject({ code: 0 })
  await using place = await open(url())
  const topic = place.topic('jobs', { codec: json<number>() })
  const publisher = await topic.publisher()
  for (const n of [1, 2, 3]) await publisher.publishAsync(n)
  const group = await topic.group('workers')
  for await (const job of group) {
    await job.ack()
    break
  }
  await group.close()
  const listed = await hermes('groups', 'list', 'jobs', '--json')
  expect(JSON.parse(listed.stdout)).toMatchObject({ name: 'workers', kind: 'shared', members: 0, lag: { messages: 2 } })
  const described = await hermes('groups', 'describe', 'jobs', 'workers', '--json')
  expect(JSON.parse(described.stdout)).toMatchObject({ floor: 2, end: 4 })

  const metrics = (await hermes('metrics')).lines
  for (const line of [
    'hermes_topic_replicated_sequence{topic="jobs"} 4',
    'hermes_topic_published_messages_total{topic="jobs"} 3',
    'hermes_group_lag_messages{topic="jobs",group="workers",kind="shared"} 2',
  ])
    expect(metrics).toContain(line)
  const top = await hermes('top')
  expect(top.code).toBe(0)
  expect(top.lines[1]).toMatch(/^TOPIC .*REPLICATED/)
  expect(top.lines[2]).toMatch(/^jobs .* ok$/)
  const ping = await hermes('ping', '--json', '--count', '2')
  expect(JSON.parse(ping.stdout)).toMatchObject({ url: url(), server: 'JetStream' })

  expect(await hermes('groups', 'reset', 'jobs', 'workers', 'latest')).toMatchObject({ code: 0 })
  expect(JSON.parse((await hermes('groups', 'describe', 'jobs', 'workers', '--json')).stdout)).toMatchObject({
    floor: 4,
  })
  expect(await hermes('groups', 'delete', 'jobs', 'workers')).toMatchObject({ code: 0 })
  expect(await hermes('topics', 'alter', 'jobs', '--retain-bytes', '1MB')).toMatchObject({ code: 0 })
  expect((await hermes('topics', 'delete', 'jobs')).stderr).toContain('--force')
  expect(await hermes('topics', 'delete', 'jobs', '--force')).toMatchObject({ code: 0 })
  expect((await hermes('topics')).lines).toEqual([])
}, 240_000)

it('says of what is not for a cluster what to do instead', async () => {
  await hermes('pub', 'greetings', 'hello')
  for (const [args, instead] of [
    [['admin'], 'hermes top'],
    [['serve'], 'hermes mirror'],
    [['bench'], 'hermes battle'],
    [['verify'], 'hermes mirror'],
    [['repair', 'greetings'], 'hermes mirror'],
    [['doctor'], 'nats server report'],
    [['topics', 'migrate', 'greetings', 'other', '--codec', 'json'], 'hermes mirror'],
    [['pub', 'greetings', 'x', '--durability', 'synced'], 'sync_interval'],
    [['pub', 'greetings', 'x', '--wait-for-groups', '1MB', '--retain-bytes', '2MB'], 'waitForGroups'],
  ] as const) {
    const { code, stderr } = await hermes(...args)
    expect([args[0], code, stderr.includes('UNSUPPORTED'), stderr.includes(instead)], stderr).toEqual([
      args[0],
      1,
      true,
      true,
    ])
  }
  expect(await place.hermes(['backup', url(), './copy'])).toMatchObject({ code: 1 })
  expect(await place.hermes(['pub', 'greetings', 'x', '--dir', './data'])).toMatchObject({ code: 0 })
  expect(await place.hermes(['backup', './data', url()])).toMatchObject({ code: 2 })
  expect(await place.hermes(['ping', '--url', 'nats://127.0.0.1:1', '--timeout', '1s'])).toMatchObject({ code: 12 })
}, 240_000)
