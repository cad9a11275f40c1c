import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { open, text } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'

const folderOf = foldersPerTest()

test('who only polls learns that the control file was lost and made again', async () => {
  const place = folderOf()
  const reading = await open(place)
  const writing = await open(place)
  const publisher = await writing.topic('t', { codec: text }).publisher()
  publisher.publish('before')
  await publisher.close()
  const subscriber = await reading.topic('t', { codec: text }).subscriber({ from: 'latest' })
  rmSync(join(place, 'topics/t/control'))
  const again = await writing.topic('t', { codec: text }).publisher()
  again.publish('after')
  await failure('CORRUPT', async () => {
    const until = Date.now() + 20_000
    while (Date.now() < until) {
      expect(subscriber.poll(() => {})).toBeLessThanOrEqual(1)
      if (Math.random() < 0.01) await new Promise(setImmediate)
    }
  })
  await again.close()
  await reading.close()
  await writing.close()
})
