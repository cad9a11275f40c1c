import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { open, raw, text } from '../../lib/index.js'
import { foldersPerTest } from '../helpers/folder.js'

/* Who polls without a pause gives the event loop no turn: what is found there only must be found by `poll`, too. */

const folderOf = foldersPerTest()
const library = join(import.meta.dirname, '../../dist/index.js')
const count = 1000

/** A process that polls without a pause until it has `count` messages, or `poll` throws. It says "open", and how it ended. */
async function poller(place: string, from: string): Promise<{ ended: Promise<string> }> {
  const program = `
    import { open, raw } from ${JSON.stringify(library)}
    const hermes = await open(${JSON.stringify(place)})
    const subscriber = await hermes.topic('t', { codec: raw }).subscriber({ from: ${from} })
    process.stdout.write('open', () => {
      let done = 0
      try {
        while (done < ${count}) done += subscriber.poll((bytes) => { if (bytes[0] !== done % 256) throw new Error('wrong') }, 1)
        console.log(' done', done)
      } catch (error) {
        console.log(' ' + (error.code ?? error.message))
      }
      process.exit()
    })`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    said += chunk
  })
  const ended = once(child, 'close').then(() => said)
  await expect.poll(() => said, { timeout: 60_000 }).toContain('open')
  return { ended }
}

async function publish(place: string): Promise<void> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('t', { codec: raw }).publisher()
  for (let n = 0; n < count; n++) while (!publisher.publish(Buffer.of(n % 256))) await publisher.ready()
  await expect.poll(async () => (await hermes.info('t')).nextSequence).toBe(count + 1)
  // (a ring goes with its last user)
  await expect.poll(async () => (await hermes.info('t')).ring?.usedBytes ?? 0, { timeout: 60_000 }).toBe(0)
}

let rings = 0

function ringName(): string {
  const name = `busy-poll-${process.pid}-${++rings}`
  onTestFinished(() => rmSync(`/dev/shm/hermes.rings-${name}`, { recursive: true, force: true }))
  return `ring:${name}`
}

describe.each([
  { kind: 'a directory', placeOf: folderOf, froms: ["'earliest'", "'latest'", 'new Date(0)'] },
  { kind: 'a ring', placeOf: ringName, froms: ["'earliest'", "'latest'"] },
])('in $kind, who polls without a pause', ({ placeOf, froms }) => {
  test.each(froms)('sees a topic that is made later, from %s', async (from) => {
    const place = placeOf()
    const { ended } = await poller(place, from)
    await publish(place)
    expect(await ended).toBe(`open done ${count}\n`)
  })

  test('is told that a topic that is made later has another codec', async () => {
    const place = placeOf()
    const { ended } = await poller(place, "'earliest'")
    await using hermes = await open(place)
    const publisher = await hermes.topic('t', { codec: text }).publisher()
    publisher.publish('x')
    expect(await ended).toBe('open CODEC_MISMATCH\n')
  })
})
