import { fork } from 'node:child_process'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { json, open } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program, programsFolder } from '../helpers/program.js'
import { drain, numbers, same } from '../helpers/receive.js'

const folder = foldersPerTest()

test('workers that are terminated in the middle of their work take nothing with them', async () => {
  const program = Program.start('workers.mjs', { place: folder(), topic: 'ticks', workers: 6, rounds: 6 })
  const result = await program.report('result')
  expect(result).toMatchObject({ rounds: 6, wrong: 0 })
  expect(result.producers).toBeGreaterThan(10)
  expect(result.messages).toBeGreaterThan(10_000)
  expect(await program.report('last')).toMatchObject({ code: 0, late: 9999 })
  await program.finish()
}, 60_000)

test('a forked child and its parent publish to one topic', async () => {
  const place = folder()
  await using hermes = await open(place)
  const topic = hermes.topic('counts', { codec: json<number>() })
  await using publisher = await topic.publisher()
  publisher.publish(1)
  const child = fork(join(programsFolder, 'forked.mjs'), [JSON.stringify({ place })], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = new Promise((resolve) => child.once('close', resolve))
  const told = await new Promise((resolve) => child.once('message', resolve))
  expect(told).toEqual({ seen: [1], lastSequence: 2 })
  publisher.publish(3)
  child.send('end')
  expect(await ended).toBe(0)
  await using subscriber = await topic.subscriber({ from: 'earliest' })
  expect(drain(subscriber, same).map((one) => one.value)).toEqual(numbers(1, 3))
})
