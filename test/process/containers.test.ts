// What containers do to processes: numbers that mean another process elsewhere, and limits of memory and tasks that the kernel enforces.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { open } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()
const namespace = ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc']
const mayUnshare = spawnSync(namespace[0] as string, [...namespace.slice(1), 'true']).status === 0

test.skipIf(!mayUnshare)(
  'publishers in PID namespaces of their own, all of one number, share a topic; the death of one is seen by the others',
  async () => {
    const place = folder()
    const consumer = Program.start('consume.mjs', { place, topic: 'ticks' })
    await consumer.report('open')
    const start = (producer: number, more: object) =>
      Program.start('produce.mjs', { place, topic: 'ticks', producer, ...more }, { under: namespace })
    const steady = [1, 2].map((producer) => start(producer, { count: 1e9, paced: true }))
    for (const one of steady) await one.report('open')
    await using hermes = await open(place)
    const topic = hermes.topic('ticks', { create: false } as never)
    expect((await topic.info()).publishers).toBe(2)
    for (let round = 0; round < 4; round++) {
      const victim = start(100 + round, { count: 1e9, batch: round % 2 === 0 ? 1 : 256, acknowledge: 4096 })
      await victim.report('acknowledged')
      // Its namespace ends with it.
      victim.kill()
      await victim.ended
      // The next one takes its place in the topic.
      const next = start(200 + round, { count: 1000 })
      await next.finish()
    }
    for (const one of steady) one.tell('stop')
    for (const one of steady) await one.finish()
    const { nextSequence } = await topic.info()
    consumer.tell(String(nextSequence))
    const result = await consumer.report('result')
    expect(result).toMatchObject({ wrong: 0, position: nextSequence })
    for (let round = 0; round < 4; round++) expect((result.next as Record<string, number>)[200 + round]).toBe(1000)
    await consumer.finish()
  },
  120_000,
)

/** A control group of version 1 or 2 with a limit; `undefined` if this user may not make one. */
function controlGroup(controller: 'memory' | 'pids', file: string, value: number): string[] | undefined {
  const v1 = join('/sys/fs/cgroup', controller)
  const name = `hermes-test-${process.pid}-${controller}`
  const group = existsSync(v1) ? join(v1, name) : join('/sys/fs/cgroup', name)
  try {
    mkdirSync(group)
    onTestFinished(() => rmdirSync(group))
    writeFileSync(join(group, file), String(value))
  } catch {
    return undefined
  }
  return ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$@"`, 'sh']
}

const isV1 = existsSync('/sys/fs/cgroup/memory')

test('a process that the kernel ends for want of memory, in the middle of filling a topic in memory, loses nothing and damages nothing', async ({
  skip,
}) => {
  const under = controlGroup('memory', isV1 ? 'memory.limit_in_bytes' : 'memory.max', 200 << 20)
  if (under === undefined) return skip('this user may not make a control group')
  const place = `/dev/shm/hermes-test-${process.pid}`
  onTestFinished(() => rmSync(place, { recursive: true, force: true }))
  const victim = Program.start(
    'produce.mjs',
    { place, topic: 'ticks', producer: 1, count: 1e9, batch: 256, acknowledge: 4096 },
    { under },
  )
  // The kernel's decision, and never an error in the middle of a message.
  expect(await victim.ended).toMatchObject({ signal: 'SIGKILL' })
  const { n } = await victim.report('acknowledged')
  const consumer = Program.start('consume.mjs', { place, topic: 'ticks' })
  await consumer.report('open')
  const next = Program.start('produce.mjs', { place, topic: 'ticks', producer: 2, count: 10 })
  await next.finish()
  expect(((await next.report('open')) as unknown as { recovery: object }).recovery).toMatchObject({ damage: [] })
  await using hermes = await open(place)
  const { nextSequence } = await hermes.info('ticks')
  consumer.tell(String(nextSequence))
  const result = await consumer.report('result')
  await consumer.finish()
  expect(result).toMatchObject({ wrong: 0, position: nextSequence })
  const received = result.next as Record<string, number>
  expect(received[1]).toBeGreaterThanOrEqual(n as number)
  expect(received[2]).toBe(10)
}, 120_000)

test('in a control group without room for a further thread, publishing and waiting go on', async ({ skip }) => {
  // Node itself takes eleven.
  const under = controlGroup('pids', 'pids.max', 12)
  if (under === undefined) return skip('this user may not make a control group')
  const place = folder()
  const producer = Program.start(
    'produce.mjs',
    { place, topic: 'ticks', producer: 1, count: 20_000, segmentBytes: 65_536 },
    { under },
  )
  await producer.finish()
  const consumer = Program.start('consume.mjs', { place, topic: 'ticks', total: 20_000, wait: 'park' }, { under })
  expect(await consumer.report('result')).toMatchObject({ messages: 20_000, skipped: 0, wrong: 0 })
  await consumer.finish()
}, 120_000)
