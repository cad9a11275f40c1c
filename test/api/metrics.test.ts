import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type MetricsReport, open, raw } from '../../lib/index.js'
import { openDirectory } from '../../lib/store/directory.js'
import { PlaceMetrics } from '../../lib/store/place-metrics.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const bytes = new Uint8Array(100)
const small = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 4096 }

function topicOf(report: MetricsReport, name = 't') {
  const topic = report.topics.find((one) => one.name === name)
  if (topic === undefined) throw new Error(`no topic ${name} in ${JSON.stringify(report.topics)}`)
  return topic
}

describe('metrics()', { timeout: 120_000 }, () => {
  it('tells what was published and received, also after all have gone', async () => {
    const place = folder()
    const hermes = await open(place)
    const topic = hermes.topic('t', small)
    const subscriber = await topic.subscriber({ from: 'earliest' })
    const publisher = await topic.publisher()
    for (let i = 0; i < 200; i++) publisher.publish(bytes)
    publisher.publishBatch(Array.from({ length: 1000 }, () => bytes))
    let seen = 0
    while (seen < 700) seen += subscriber.poll(() => {}, 100)
    const during = await hermes.metrics()
    const frame = 32 + 104
    expect(topicOf(during)).toMatchObject({
      isReadable: true,
      firstSequence: 1,
      writtenSequence: 1201,
      claimedSequence: 1201,
      publishers: 1,
      subscribers: 1,
      published: { messages: 1200, bytes: 1200 * frame, failures: 0 },
    })
    expect(during.publishers).toMatchObject([{ topic: 't', pid: process.pid, messages: 1200 }])
    const [mine] = during.subscribers
    expect(mine?.lag).toBe(1201 - (mine?.nextSequence ?? 0))
    expect(mine?.messages).toBeGreaterThanOrEqual(700)
    while (seen < 1200) seen += subscriber.poll(() => {})
    expect((await hermes.metrics()).subscribers[0]).toMatchObject({ lag: 0, messages: 1200, nextSequence: 1201 })
    await hermes.close()
    const again = await open(place)
    const after = await again.metrics()
    expect([after.publishers, after.subscribers]).toEqual([[], []])
    expect(topicOf(after).published).toMatchObject({ messages: 1200, bytes: 1200 * frame })
    expect(topicOf(after).received).toMatchObject({ messages: 1200, bytes: 1200 * frame, voids: 0 })
    expect(topicOf(after).received.latency.count).toBeGreaterThan(0)
    expect([after.unmeasured, after.unnamed]).toEqual([0, 0])
    await again.close()
  })

  it('tells how far a group is behind, in messages and in time, though no member lives', async () => {
    const place = folder()
    const hermes = await open(place)
    const topic = hermes.topic('t', small)
    const publisher = await topic.publisher()
    for (let i = 0; i < 2000; i++) publisher.publish(bytes)
    const group = await topic.group('g', { from: 'earliest' })
    let settled = 0
    for await (const job of group) {
      await job.ack()
      if (++settled === 1500) break
    }
    await group.close()
    for (let i = 0; i < 10; i++) publisher.publish(bytes)
    const [found] = (await hermes.metrics()).groups
    expect(found).toMatchObject({
      topic: 't',
      name: 'g',
      kind: 'shared',
      lag: 510,
      floor: 1501,
      settled: 1500,
      isStalled: false,
    })
    expect(found?.lagSeconds).toBeGreaterThan(0)
    expect(found?.lagSeconds).toBeLessThan(600)
    await hermes.close()
  })

  it('has no lag where a durable subscription has come to the end', async () => {
    const hermes = await open(folder())
    const topic = hermes.topic('t', small)
    const publisher = await topic.publisher()
    const subscriber = await topic.subscriber({ name: 'engine', from: 'earliest' })
    for (let i = 0; i < 300; i++) publisher.publish(bytes)
    for (let seen = 0; seen < 300; ) seen += subscriber.poll(() => {})
    await subscriber.commit()
    expect((await hermes.metrics()).groups).toMatchObject([{ name: 'engine', kind: 'durable', lag: 0, lagSeconds: 0 }])
    publisher.publish(bytes)
    expect((await hermes.metrics()).groups).toMatchObject([{ lag: 1, floor: 301 }])
    await hermes.close()
  })

  it('sees topics that come and go, and follows a log through its segments and retention', async () => {
    const place = folder()
    const hermes = await open(place)
    const watcher = await open(place)
    expect((await watcher.metrics()).topics).toEqual([])
    const publisher = await hermes.topic('t', { ...small, retention: { bytes: 200_000 } }).publisher()
    let published = 0
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 1000; i++) publisher.publish(bytes)
      published += 1000
      let topic = topicOf(await watcher.metrics())
      let info = await watcher.info('t')
      // (retention goes on beside the publisher: it may remove a segment between the two looks)
      for (let looks = 0; topic.firstSequence !== info.firstSequence && looks < 100; looks++) {
        topic = topicOf(await watcher.metrics())
        info = await watcher.info('t')
      }
      expect(topic.writtenSequence).toBe(published + 1)
      expect([topic.firstSequence, topic.segments]).toEqual([info.firstSequence, info.segments])
      expect([topic.diskBytes, topic.usedBytes]).toEqual([info.bytes, info.usedBytes])
    }
    expect(topicOf(await watcher.metrics()).firstSequence).toBeGreaterThan(1)
    await hermes.close()
    await watcher.close()
  })

  it('is refused where there is nothing counted', async () => {
    const ring = await open(`ring:metrics-${process.pid}`)
    await failure('UNSUPPORTED', () => ring.metrics())
    await ring.close()
    const hermes = await open(folder())
    const report = await hermes.metrics()
    expect(report.sinceMs).toBeUndefined()
    expect(report.topics).toEqual([])
    await hermes.close()
    await failure('CLOSED', () => hermes.metrics())
  })

  it('is told when its file is damaged, and nobody is kept from publishing', async () => {
    for (const harm of [
      (file: string) => writeFileSync(file, 'no metrics'),
      (file: string) => truncateSync(file, 4096),
      (file: string) => {
        const content = readFileSync(file)
        content[40] = 1
        writeFileSync(file, content)
      },
    ]) {
      const place = folder()
      const first = await open(place)
      await (await first.topic('t', small).publisher()).close()
      await first.close()
      const file = join(place, 'metrics')
      expect(existsSync(file)).toBe(true)
      const hermes = await open(place)
      const told = async () => (await hermes.doctor()).findings.filter(({ check }) => check === 'metrics')
      expect(await told()).toMatchObject([{ severity: 'ok' }])
      harm(file)
      expect(await told()).toMatchObject([
        { severity: 'problem', message: expect.stringContaining('Move the file away') },
      ])
      const publisher = await hermes.topic('t', small).publisher()
      publisher.publish(bytes)
      const subscriber = await hermes.topic('t', small).subscriber({ from: 'earliest' })
      expect(subscriber.poll(() => {})).toBe(1)
      const error = await failure('CORRUPT', () => hermes.metrics())
      expect(error.message).toContain(file)
      // Its own remedy: `hermes repair` mends topics, and would find nothing.
      expect(error.message).toContain('Move the file away')
      expect(error.message).not.toContain('hermes repair')
      await hermes.close()
    }
  })
})

/** Holds the file's lock as a process does that was stopped in the middle of a fold. */
async function holdLock(file: string): Promise<{ release(): Promise<void> }> {
  const program = `import fcntl, struct, sys
file = open(sys.argv[1], 'r+b')
F_OFD_SETLK = 37
fcntl.fcntl(file, F_OFD_SETLK, struct.pack('hhqqi4x', fcntl.F_WRLCK, 0, 0, 1, 0))
print('held', flush=True)
sys.stdin.read()`
  const child = spawn('python3', ['-c', program, file], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    release: async () => {
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}

describe('a process that was stopped while it held the lock of the file', { timeout: 120_000 }, () => {
  it('keeps no thread of the pool: files are read while participants wait for it, and then go without a cell', async () => {
    const place = folder()
    const hermes = await open(place)
    const topic = hermes.topic('t', small)
    await (await topic.publisher()).close()
    const lock = await holdLock(join(place, 'metrics'))
    const metrics = new PlaceMetrics(await openDirectory(place, false, undefined))
    let settled = 0
    const cells = Array.from({ length: 12 }, () => metrics.cell('publisher', 't').finally(() => settled++))
    // Behind twelve attempts in the queue of the pool, which has four threads: if those waited, some would be over by now.
    await stat(place)
    expect(settled).toBe(0)
    expect(await Promise.all(cells)).toEqual(Array.from({ length: 12 }, () => undefined))
    metrics.close()
    const publisher = await topic.publisher()
    publisher.publish(bytes)
    await lock.release()
    const report = await hermes.metrics()
    expect(report.unmeasured).toBe(13)
    expect(topicOf(report).writtenSequence).toBe(2)
    await hermes.close()
  })

  it('is waited for if it goes on in time', async () => {
    const place = folder()
    const hermes = await open(place)
    const topic = hermes.topic('t', small)
    await (await topic.publisher()).close()
    const lock = await holdLock(join(place, 'metrics'))
    const opening = topic.publisher()
    await stat(place)
    await lock.release()
    ;(await opening).publish(bytes)
    const report = await hermes.metrics()
    expect([report.unmeasured, topicOf(report).published.messages]).toEqual([0, 1])
    await hermes.close()
  })
})

describe('a process that is killed', () => {
  const rounds = Number(process.env['HERMES_METRICS_KILLS'] ?? 12)

  it(`${rounds} times at any moment leaves totals that are those of the log`, {
    timeout: 60_000 + rounds * 5000,
  }, async () => {
    const place = folder()
    const program = join(place, '..', `${place.split('/').at(-1)}.mjs`)
    writeFileSync(
      program,
      `import { open, raw } from ${JSON.stringify(join(root, 'dist/index.js'))}
const hermes = await open(${JSON.stringify(place)})
const topic = hermes.topic('t', { codec: raw, segmentBytes: 1048576, maxPayloadBytes: 4096 })
const [a, b] = [await topic.publisher(), await topic.publisher()]
process.stdout.write('go')
const bytes = new Uint8Array(8)
const batch = [bytes, bytes, bytes]
for (;;) { a.publish(bytes); b.publishBatch(batch) }
`,
    )
    const watcher = await open(place)
    for (let round = 0; round < rounds; round++) {
      const child = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] })
      await once(child.stdout, 'data')
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
      child.kill('SIGKILL')
      await once(child, 'exit')
      // Sometimes somebody reads between two deaths, sometimes the next process finds several dead.
      if (round % 3 === 0) await watcher.metrics()
    }
    const hermes = await open(place)
    const publisher = await hermes.topic('t', { codec: raw }).publisher()
    const topic = topicOf(await watcher.metrics())
    let messages = 0
    const subscriber = await hermes.topic('t', { codec: raw }).subscriber({ from: 'earliest' })
    while (subscriber.lag > 0) messages += subscriber.poll(() => {})
    expect(topic.published.messages).toBe(messages)
    expect(messages).toBeGreaterThan(rounds)
    await publisher.close()
    await watcher.close()
    await hermes.close()
  })
})
