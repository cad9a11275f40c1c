import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { open } from '../../lib/index.js'
import { foldersPerTest, root } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const file = process.env.HERMES_QUOTES ?? join(root, '../shared/data/aapl-2012-06-21-best-quotes.csv')
const present = existsSync(file)
if (!present) console.warn(`no quotes file at ${file}: set HERMES_QUOTES to run the tests with real input`)
const folder = foldersPerTest()

const real = test.skipIf(!present)
/** The file as the subscribers write it: the same rows, each ended by a newline. */
const lines = present ? readFileSync(file, 'utf8').trimEnd().split('\n') : []
const rows = lines.length
const hash = createHash('sha256')
  .update(lines.map((line) => `${line.trimEnd()}\n`).join(''))
  .digest('hex')

function startSubscribers(place: string): Program[] {
  return [true, false].map((poll) => Program.start('quotes-subscribe.mjs', { place, topic: 'quotes', rows, poll }))
}

real(
  'a day of quotes goes from one process to two others and is the same there',
  async () => {
    expect(rows).toBeGreaterThan(100_000)
    const place = folder()
    const subscribers = startSubscribers(place)
    await Promise.all(subscribers.map((one) => one.report('open')))
    const publisher = Program.start('quotes-publish.mjs', { place, topic: 'quotes', file })
    await publisher.finish()
    for (const one of subscribers) {
      expect(await one.report('result')).toMatchObject({ rows, hash })
      await one.finish()
    }
  },
  60_000,
)

real(
  'a day of quotes is the same when its publisher was killed half-way and started again',
  async () => {
    const place = folder()
    const subscribers = startSubscribers(place)
    await Promise.all(subscribers.map((one) => one.report('open')))
    const options = { place, topic: 'quotes', file }
    const killed = Program.start('quotes-publish.mjs', { ...options, slowFrom: Math.floor(rows / 2) })
    await killed.report('half')
    killed.kill()
    expect(await killed.ended).toMatchObject({ signal: 'SIGKILL' })
    const again = Program.start('quotes-publish.mjs', options)
    const { row } = await again.report('begins')
    expect(row).toBeGreaterThan(rows / 2)
    expect(row).toBeLessThan(rows)
    await again.finish()
    for (const one of subscribers) {
      expect(await one.report('result')).toMatchObject({ rows, hash })
      await one.finish()
    }
    await using hermes = await open(place, { create: false })
    // As many sequences as rows: none was published twice. (A message that died half-way uses one up.)
    expect((await hermes.info('quotes')).nextSequence).toBeLessThanOrEqual(rows + 2)
  },
  60_000,
)
