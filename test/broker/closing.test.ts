import { rmSync } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { FolderMark } from '../../lib/broker/folder-mark.js'
import { open, text } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'

const folder = foldersPerTest()

it('a broker that is closed while it looks after a topic whose folder is then removed leaves no rejection behind', async () => {
  const dir = folder()
  const looks: ((isSame: boolean) => void)[] = []
  const spy = vi.spyOn(FolderMark.prototype, 'stillSame').mockImplementation(
    () =>
      new Promise((resolve) => {
        looks.push(resolve)
      }),
  )
  const broker = await serve({ dir, port: 0 })
  const hermes = await open(broker.url)
  const publisher = await hermes.topic('t', { codec: text }).publisher()
  await publisher.publishAsync('a')
  await expect.poll(() => looks.length, { timeout: 20_000 }).toBeGreaterThan(0)
  await hermes.close()
  await broker.close()
  rmSync(dir, { recursive: true, force: true })
  const rejections: unknown[] = []
  const note = (reason: unknown) => rejections.push(reason)
  process.on('unhandledRejection', note)
  for (const resolve of looks) resolve(false)
  await new Promise((resolve) => setTimeout(resolve, 50))
  process.off('unhandledRejection', note)
  spy.mockRestore()
  expect(rejections).toEqual([])
})
