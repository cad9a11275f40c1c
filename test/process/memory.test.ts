import { expect, test } from 'vitest'
import { json, open } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'
import { drain, same } from '../helpers/receive.js'

const folder = foldersPerTest()

test('memory stays bounded over many segments and subscribers, and nothing is unmapped under a view', async () => {
  const rounds = 120
  const program = Program.start('memory.mjs', { place: folder(), rounds }, { nodeOptions: ['--expose-gc'] })
  const result = (await program.report('result')) as unknown as {
    read: number
    most: number
    left: number
    rss: number
  }
  await program.finish()
  expect(result.read).toBeGreaterThan(rounds * 300)
  // Subscribers that were forgotten are still open, each with its segment: closing the place is what gives them back.
  expect(result.most).toBeLessThan(rounds + 20)
  // What is left belongs to the objects that the program still holds.
  expect(result.left).toBeLessThan(4)
  expect(result.rss).toBeLessThan(400 << 20)
}, 60_000)

test('a topic has places for 256 publishers, and gives them back', async () => {
  const place = folder()
  await using hermes = await open(place)
  const topic = hermes.topic('counts', { codec: json<number>(), segmentBytes: 65_536, maxPayloadBytes: 100 })
  const publishers = await Promise.all(Array.from({ length: 256 }, () => topic.publisher()))
  expect((await topic.info()).publishers).toBe(256)
  await failure('TOO_MANY_PUBLISHERS', () => topic.publisher())
  for (const [n, publisher] of publishers.entries()) publisher.publish(n)
  await publishers[17]?.close()
  await using late = await topic.publisher()
  late.publish(256)
  await using subscriber = await topic.subscriber({ from: 'earliest' })
  expect(drain(subscriber, same).map((one) => one.value)).toEqual(Array.from({ length: 257 }, (_, n) => n))
}, 60_000)
