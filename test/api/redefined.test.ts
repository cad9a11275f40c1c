import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { json, open, text } from '../../lib/index.js'
import { take } from '../helpers/receive.js'

/** Runs once, between a subscriber's look at the description of its topic and what it makes of it. */
let meanwhile: (() => Promise<void>) | undefined

vi.mock(import('../../lib/store/topic-file.js'), async (original) => {
  const real = await original()
  return {
    ...real,
    openTopicFile: async (...args) => {
      try {
        return await real.openTopicFile(...args)
      } catch (error) {
        const work = meanwhile
        meanwhile = undefined
        await work?.()
        throw error
      }
    },
  }
})

let dir: string
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-redefined-'))
})
afterEach(() => rm(dir, { recursive: true, force: true }))

test('a subscriber follows when its empty topic is defined anew and published to while it looks', async () => {
  await using hermes = await open(dir)
  await (await hermes.topic('counts', { codec: json<number>() }).publisher()).close()
  const topic = hermes.topic('counts', { codec: text })
  let looked = false
  meanwhile = async () => {
    looked = true
    const publisher = await topic.publisher()
    publisher.publish('a')
  }
  const subscriber = await topic.subscriber({ from: 'earliest' })
  expect(looked).toBe(true)
  expect((await take(subscriber, 1)).map((one) => one.value)).toEqual(['a'])
})
