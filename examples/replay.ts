// The log remembers: begin at the first message, at a sequence, or at a time.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type From, type Hermes, open, text } from 'hermes-mq'

/** What is there from `from` on. */
async function read(hermes: Hermes, from: From): Promise<string[]> {
  const subscriber = await hermes.topic('log', { codec: text }).subscriber({ from })
  const lines: string[] = []
  while (subscriber.lag > 0) {
    await subscriber.ready()
    subscriber.poll((line, message) => lines.push(`${message.sequence} ${line}`))
  }
  await subscriber.close()
  return lines
}

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
try {
  await using hermes = await open(place)
  const publisher = await hermes.topic('log', { codec: text }).publisher()
  for (const line of ['started', 'listening', 'connected']) publisher.publish(line)
  await sleep(20)
  const noon = new Date()
  await sleep(20)
  for (const line of ['disconnected', 'stopped']) publisher.publish(line)
  await publisher.flush()

  console.log('earliest:  ', (await read(hermes, 'earliest')).join(', '))
  console.log('sequence 3:', (await read(hermes, 3)).join(', '))
  console.log('since noon:', (await read(hermes, noon)).join(', '))
  console.log('latest:    ', (await read(hermes, 'latest')).join(', ') || 'nothing yet')

  // A subscriber may also go elsewhere later.
  const subscriber = await hermes.topic('log', { codec: text }).subscriber()
  subscriber.seek(2)
  for await (const { value } of subscriber) {
    console.log('after seek(2):', value)
    break
  }
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
