// One publisher, one subscriber, one topic. Both could as well be in processes of their own: open the same place there.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ascii, f64, open, struct, u32 } from 'hermes-mq'

const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
try {
  await using hermes = await open(place)
  const trades = hermes.topic('trades', { codec: Trade })

  const subscriber = await trades.subscriber({ from: 'earliest' })
  const publisher = await trades.publisher()
  publisher.publish({ symbol: 'BTC', price: 50_000, size: 3 })
  publisher.publish({ symbol: 'ETH', price: 2_500.5, size: 10 })

  // What an iterator yields is yours to keep.
  for await (const { value, sequence } of subscriber) {
    console.log(`${sequence}: ${value.size} ${value.symbol} at ${value.price}`)
    if (sequence === 2) break
  }

  // On a hot path, poll: no waiting, and nothing is allocated. The trade is a view of the log, valid until the handler returns.
  publisher.publish({ symbol: 'SOL', price: 140.25, size: 7 })
  // (In a directory it is there already; through a broker it takes its time.)
  await subscriber.ready()
  const handled = subscriber.poll((trade, message) => {
    console.log(`${message.sequence}: ${trade.size} ${trade.symbol} at ${trade.price}`)
  })
  console.log(`polled ${handled} message, ${subscriber.lag} to come`)
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
