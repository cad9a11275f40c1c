import { expect, test } from 'vitest'
import { ascii, open, struct, u8, u32 } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'
import { drain, pause } from '../helpers/receive.js'

const folder = foldersPerTest()
const Numbered = struct({ producer: u32, n: u32, filler: ascii(55), last: u8 })

/** What a process leaves behind that ended at this step without closing anything: messages. */
const steps: Readonly<Record<string, number>> = {
  opened: 0,
  topic: 0,
  subscriber: 0,
  publisher: 0,
  published: 3,
  'synced: published': 3,
  'synced: under way': 103,
  flushing: 103,
  polled: 103,
  'exit in a handler': 104,
  iterated: 104,
  closing: 103,
  'publisher closed': 103,
  'subscriber closed': 103,
  closed: 103,
}

async function expectUsable(place: string, messages: number): Promise<void> {
  await using hermes = await open(place)
  const topic = hermes.topic('ticks', { codec: Numbered, segmentBytes: 65_536 })
  await using subscriber = await topic.subscriber({ from: 'earliest' })
  expect(drain(subscriber, (view) => view.n)).toHaveLength(messages)
  // Its place was given back, so that somebody may have the topic to himself.
  await using publisher = await topic.publisher({ exclusive: true })
  publisher.publish({ producer: 2, n: 2, filler: '', last: 0 })
  expect(drain(subscriber, (view) => view.n)).toEqual([{ value: 2, sequence: messages + 1 }])
}

for (const [step, messages] of Object.entries(steps)) {
  test(`a process that stops at '${step}' ends by itself`, async () => {
    const place = folder()
    const program = Program.start('lifecycle.mjs', { place, step })
    await program.finish()
    if (step === 'synced: under way') expect(await program.report('receipts')).toMatchObject({ count: 100 })
    await expectUsable(place, messages)
  })
}

test('a process that dies of an error in a handler ends with it, and leaves the topic usable', async () => {
  const place = folder()
  const program = Program.start('lifecycle.mjs', { place, step: 'uncaught in a handler' })
  expect(await program.ended).toEqual({ code: 1, signal: null })
  expect(program.stderr).toContain('nobody catches this')
  await expectUsable(place, 104)
})

for (const step of ['iterating', 'ready']) {
  for (const wait of ['yield', 'park', 'adaptive']) {
    test(`a subscriber that waits (${step}, ${wait}) keeps its process alive until it is told to end`, async () => {
      const place = folder()
      for (const order of ['exit', 'close']) {
        const program = Program.start('lifecycle.mjs', { place, step, wait })
        await program.report('waiting')
        await pause(200)
        expect(program.isRunning).toBe(true)
        program.tell(order)
        const { code, signal } = await program.ended
        // ready() rejects when its subscriber is closed, and nobody in the program catches that.
        expect({ code, signal }).toEqual({ code: step === 'ready' && order === 'close' ? 1 : 0, signal: null })
      }
      await expectUsable(place, 0)
    })
  }
}

test('a process that is killed while it waits leaves nothing behind that others wait for', async () => {
  const place = folder()
  const program = Program.start('lifecycle.mjs', { place, step: 'iterating', wait: 'park' })
  await program.report('waiting')
  program.kill()
  await program.ended
  await expectUsable(place, 0)
})
