import { join } from 'node:path'
import { expect, test } from 'vitest'
import { serve } from '../../lib/broker/index.js'
import { open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

const folder = foldersPerTest()

test('a topic is no mirror of itself, by whichever way it is reached, and goes on as it was', async () => {
  const place = join(folder(), 'data')
  await using hermes = await open(place)
  await using again = await open(`file://${place}`)
  await using broker = await serve({ dir: place, port: 0 })
  await using remote = await open(broker.url)
  const topic = hermes.topic('orders', { codec: text })
  await (await topic.publisher()).close()
  for (const published of [0, 1]) {
    for (const [from, to] of [
      [hermes, hermes],
      [hermes, again],
      [remote, hermes],
    ] as const) {
      const { message } = await failure('INVALID_ARGUMENT', () => from.mirror('orders', to, { follow: false }))
      expect(message).toContain("Topic 'orders' can't be a mirror of itself")
    }
    await using publisher = await topic.publisher({ durability: 'synced' })
    await publisher.publishAsync(`order ${published}`)
  }
  // Under another name it is a mirror like any other, and goes on.
  for (const expected of [2, 3]) {
    const mirror = await hermes.mirror('orders', again, { as: 'copy', follow: false })
    await mirror.done
    await mirror.closed()
    expect((await hermes.info('copy')).nextSequence - 1).toBe(expected)
    await using publisher = await topic.publisher({ durability: 'synced' })
    await publisher.publishAsync('another')
  }
})
