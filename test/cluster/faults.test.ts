import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open, text } from '../../lib/index.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'

describe.skipIf(natsMissing !== undefined)('a cluster of three', () => {
  let cluster: NatsCluster
  beforeAll(async () => {
    cluster = await startNats(3)
  }, 60_000)
  afterAll(() => cluster.close())

  it('acknowledges messages as replicated, and tells how far a topic is', async () => {
    await using hermes = await open(cluster.url, { replicas: 3 })
    const topic = hermes.topic('replicated', { codec: text })
    const publisher = await topic.publisher({ durability: 'replicated' })
    expect(publisher.durability).toBe('replicated')
    expect(await publisher.publishAsync('one')).toMatchObject({ sequence: 1 })
    publisher.publish('two')
    await publisher.flush()
    expect((await topic.info()).watermarks.replicated).toBe(3)
    // A topic without replicas, in a cluster that has servers for some.
    await using single = await open(cluster.url, { replicas: 1 })
    await (await single.topic('alone', { codec: text }).publisher()).publishAsync('one')
    await expect(single.topic('alone', { codec: text }).publisher({ durability: 'replicated' })).rejects.toMatchObject({
      code: 'CONFIG_MISMATCH',
    })
  }, 60_000)

  it('waits while there is no quorum, and goes on when there is one again', async () => {
    await using hermes = await open(cluster.url, { replicas: 3 })
    const publisher = await hermes.topic('orders', { codec: text }).publisher()
    const { sequence } = await publisher.publishAsync('before')
    const lost = cluster.servers.slice(1)
    await Promise.all(lost.map((server) => server.kill()))
    await expect(publisher.publishAsync('during', { timeoutMs: 1000 })).rejects.toMatchObject({ code: 'TIMED_OUT' })
    expect(publisher.unacknowledged).toBe(1)
    await Promise.all(lost.map((server) => server.start()))
    expect(await publisher.publishAsync('after')).toMatchObject({ sequence: sequence + 2 })
  }, 120_000)
})
