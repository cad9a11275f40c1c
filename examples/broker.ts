// A broker within a program (as a process of its own it is `hermes serve`), clients of it, and a local publisher on the same topic.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ascii, f64, open, struct } from 'hermes-mq'
import { serve } from 'hermes-mq/broker'

const Price = struct({ symbol: ascii(8), price: f64 })
const token = 'a long random text'

const dir = await mkdtemp(join(tmpdir(), 'hermes-example-'))
try {
  const access = [
    { name: 'feed', token, publish: ['prices'], subscribe: ['prices'], administer: true },
    { name: 'desk', token: 'another long random text', subscribe: ['prices'] },
  ]
  await using broker = await serve({ dir, port: 0, access })

  // A client, which may be on another host. Connections that are lost are made again; nothing acknowledged is lost or stored twice.
  await using feed = await open(broker.url, { token, onStatus: ({ type }) => console.log(`feed: ${type}`) })
  const publisher = await feed.topic('prices', { codec: Price }).publisher({ durability: 'synced' })
  const { sequence } = await publisher.publishAsync({ symbol: 'BTC', price: 50_000 })
  console.log(`the broker has message ${sequence} on stable storage`)

  // A process beside the broker needs none: it opens the directory, and writes to the same log.
  await using local = await open(dir)
  const beside = await local.topic('prices', { codec: Price }).publisher()
  beside.publish({ symbol: 'ETH', price: 2_500.5 })

  await using desk = await open(broker.url, { token: 'another long random text' })
  const prices = desk.topic('prices', { codec: Price, create: false })
  const subscriber = await prices.subscriber({ from: 'earliest' })
  for await (const { value, sequence } of subscriber) {
    console.log(`desk: ${sequence}: ${value.symbol} at ${value.price}`)
    if (sequence === 2) break
  }
  // The desk may read, and no more.
  await prices.publisher().catch(({ code }) => console.log(`desk may not publish: ${code}`))
} finally {
  await rm(dir, { recursive: true })
}
