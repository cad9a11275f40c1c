// Messages that survive a power cut. `synced` costs a disk write, but one write serves all who wait for it.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { json, open } from 'hermes-mq'

interface Payment {
  readonly from: string
  readonly to: string
  readonly cents: number
}
const Payments = json<Payment>()

const place = await mkdtemp(join(tmpdir(), 'hermes-example-'))
try {
  {
    await using hermes = await open(place)
    const topic = hermes.topic('payments', { codec: Payments })
    const publisher = await topic.publisher({ durability: 'synced' })

    // Resolves once the payment is on stable storage.
    const { sequence, timestampNs } = await publisher.publishAsync({ from: 'ada', to: 'bob', cents: 1250 })
    console.log(`payment ${sequence} is safe, made in ${new Date(Number(timestampNs / 1_000_000n)).getUTCFullYear()}`)

    // Don't wait for one before you start the next: a hundred share a few syncs.
    const receipts = await Promise.all(
      Array.from({ length: 100 }, (_, cents) => publisher.publishAsync({ from: 'bob', to: 'eve', cents })),
    )
    console.log(`${receipts.length} more are safe, up to sequence ${receipts.at(-1)?.sequence}`)
    const info = await topic.info()
    console.log(`everything before ${info.syncedSequence} is on stable storage`)
  }

  // Another process, or this one after a restart, finds all of it.
  await using hermes = await open(place, { create: false })
  const subscriber = await hermes.topic('payments', { codec: Payments }).subscriber({ from: 'earliest' })
  let cents = 0
  const found = subscriber.poll((payment) => {
    cents += payment.cents
  })
  console.log(`found ${found} payments again, ${cents} cents in all`)
} finally {
  await rm(place, { recursive: true })
}
