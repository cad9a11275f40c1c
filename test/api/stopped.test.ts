import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Hermes, open, raw } from '../../lib/index.js'
import { native } from '../../lib/native/addon.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folderOf = foldersPerTest()
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Holds the recovery lock of a topic, as a process does that was stopped (SIGSTOP) while it recovers or makes the topic. */
function holdRecovery(topicFolder: string): { release(): void } {
  const held = native.holdLock(join(topicFolder, 'locks'))
  if (held === null) throw new Error('somebody holds it already')
  let isHeld = true
  const release = () => {
    if (isHeld) held.release()
    isHeld = false
  }
  onTestFinished(release)
  return { release }
}

async function place(): Promise<{ hermes: Hermes; path: string; topicFolder: string }> {
  const path = join(folderOf(), 'place')
  const hermes = await open(path)
  onTestFinished(() => hermes.close())
  return { hermes, path, topicFolder: join(path, 'topics', 't') }
}

describe('while another participant is stopped in the middle of recovery', () => {
  test('publishers that wait for it keep neither files nor the event loop from others, and open when it ends', async () => {
    const { hermes, topicFolder } = await place()
    const topic = hermes.topic('t', { codec: raw })
    await (await topic.publisher()).close()
    const recovery = holdRecovery(topicFolder)
    // More than there are threads for files, names and compression.
    const opening = Array.from({ length: 8 }, () => topic.publisher())
    for (let n = 0; n < 20; n++) {
      await readFile(join(topicFolder, 'topic.json'))
      await turn()
    }
    recovery.release()
    const publishers = await Promise.all(opening)
    expect(publishers[0]?.publish(Buffer.from('a'))).toBe(true)
    for (const publisher of publishers) await publisher.close()
  }, 30_000)

  test('a process that waits for it can end', async () => {
    const { hermes, path, topicFolder } = await place()
    await (await hermes.topic('t', { codec: raw }).publisher()).close()
    holdRecovery(topicFolder)
    const program = `import { open, raw } from ${JSON.stringify(join(root, 'dist/index.js'))}
      const hermes = await open(${JSON.stringify(path)})
      hermes.topic('t', { codec: raw }).publisher()
      setTimeout(() => process.exit(0), 300)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' })
    expect(await once(child, 'exit')).toEqual([0, null])
  }, 30_000)

  test('closing a publisher goes on, and the event loop with it', async () => {
    const { hermes, topicFolder } = await place()
    const topic = hermes.topic('t', { codec: raw })
    const publisher = await topic.publisher()
    publisher.publish(Buffer.from('a'))
    const recovery = holdRecovery(topicFolder)
    const order: string[] = []
    setImmediate(() => order.push('the event loop'))
    await publisher.close()
    order.push('close()')
    expect(order).toEqual(['the event loop', 'close()'])
    recovery.release()
    // It could not note that it was closed in order: the next one looks.
    const next = await topic.publisher()
    expect(next.recovery).toMatchObject({ ran: true, damage: [] })
  })

  test('setting retention does not hold up the event loop', async () => {
    const { hermes, topicFolder } = await place()
    const publisher = await hermes.topic('t', { codec: raw }).publisher()
    holdRecovery(topicFolder)
    const order: string[] = []
    const subscribed = hermes
      .topic('t', { codec: raw, retention: { bytes: 1_000_000_000 } })
      .subscriber({ create: true })
      .then(() => order.push('retention'))
    for (let n = 0; n < 5; n++) await turn()
    order.push('the event loop')
    await subscribed
    expect(order).toEqual(['the event loop', 'retention'])
    await publisher.close()
  })
})

describe('while another process is stopped in the middle of making a topic', () => {
  async function half(): Promise<{ hermes: Hermes; topicFolder: string }> {
    const { hermes, topicFolder } = await place()
    await (await hermes.topic('t', { codec: raw }).publisher()).close()
    rmSync(join(topicFolder, '0000000001.seg'))
    rmSync(join(topicFolder, 'control'))
    return { hermes, topicFolder }
  }

  test('who opens it waits without holding up the event loop, and goes on when it is made', async () => {
    const { hermes, topicFolder } = await half()
    const maker = holdRecovery(topicFolder)
    const opening = hermes.topic('t', { codec: raw }).publisher()
    for (let n = 0; n < 20; n++) {
      await readFile(join(topicFolder, 'topic.json'))
      await turn()
    }
    maker.release()
    await (await opening).publishAsync(Buffer.from('a'))
  }, 30_000)

  test('who opens it is told in the end', async () => {
    const { hermes, topicFolder } = await half()
    holdRecovery(topicFolder)
    const error = await failure('TIMED_OUT', () => hermes.topic('t', { codec: raw }).publisher())
    expect(error.message).toContain('may have been stopped')
  }, 60_000)
})

test('a lost lock file of a topic in use is told without holding up the event loop', async () => {
  const { hermes, topicFolder } = await place()
  const topic = hermes.topic('t', { codec: raw })
  const publisher = await topic.publisher()
  rmSync(join(topicFolder, 'locks'))
  const order: string[] = []
  const refused = failure('BUSY', () => topic.publisher()).then(() => order.push('refused'))
  for (let n = 0; n < 20; n++) {
    await readFile(join(topicFolder, 'topic.json'))
    await turn()
  }
  order.push('the event loop')
  await refused
  expect(order).toEqual(['the event loop', 'refused'])
  await publisher.close()
  expect(await (await topic.publisher()).publishAsync(Buffer.from('a'))).toBeDefined()
})
