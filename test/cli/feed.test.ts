import { expect, test } from 'vitest'
import { HermesError } from '../../lib/base/errors.js'
import { Feed } from '../../lib/cli/feed.js'
import type { Publisher } from '../../lib/client/publisher.js'
import { failure } from '../helpers/failure.js'

/** Takes so many values, and fails as a publisher does: a batch is taken in groups, and the values of the group at which it ends are read, too. */
function failing(code: 'DISK_FULL' | 'ENCODE_FAILED', accepted: number, taken: number): Publisher<unknown> {
  const publishBatch = (values: Iterable<unknown>) => {
    let seen = 0
    for (const _ of values)
      if (++seen === taken) throw new HermesError(code, 'There was something wrong.', { details: { accepted } })
    return true
  }
  return { publishBatch } as Publisher<unknown>
}

const feed = (publisher: Publisher<unknown>) => {
  const fed = new Feed(publisher, 8, new AbortController().signal)
  return { fed, all: () => Promise.all(Array.from({ length: 8 }, (_, n) => fed.add(n, `line ${n + 1}`))) }
}

test('names the value that is refused', async () => {
  const { fed, all } = feed(failing('ENCODE_FAILED', 0, 6))
  expect((await failure('ENCODE_FAILED', all)).message).toBe('line 6: There was something wrong.')
  expect(fed.published).toBe(5)
})

test('names the first value that was not published where there is no room, and not the last one that was read', async () => {
  const { fed, all } = feed(failing('DISK_FULL', 4, 8))
  expect((await failure('DISK_FULL', all)).message).toBe('line 5: There was something wrong.')
  expect(fed.published).toBe(4)
})
