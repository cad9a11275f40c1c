import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { serve } from '../../lib/broker/index.js'
import { open, raw } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

const folder = foldersPerTest()
const mebibyte = 1024 * 1024

test('a topic whose messages may be too large for the wire is refused once, and the connection goes on', async () => {
  const dir = join(folder(), 'data')
  {
    await using local = await open(dir)
    const options = { codec: raw, segmentBytes: 128 * mebibyte, maxPayloadBytes: 20 * mebibyte }
    await (await local.topic('large', options).publisher()).close()
  }
  await using broker = await serve({ dir, port: 0 })
  const happened: string[] = []
  await using hermes = await open(broker.url, { onStatus: ({ type }) => happened.push(type) })
  for (let round = 0; round < 2; round++) {
    const topic = hermes.topic('large', { codec: raw })
    const refused = [await failure('LIMIT', () => topic.subscriber()), await failure('LIMIT', () => topic.publisher())]
    for (const { details } of refused) expect(details).toMatchObject({ limit: 'maxPayloadBytes' })
  }
  const making = hermes.topic('new', { codec: raw, segmentBytes: 128 * mebibyte, maxPayloadBytes: 20 * mebibyte })
  await failure('LIMIT', () => making.publisher())
  await sleep(300)
  expect(happened).toEqual(['connected'])
  expect(await hermes.topics()).toEqual(['large'])
})
