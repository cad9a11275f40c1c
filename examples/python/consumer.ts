// Receives the trades that a producer in Python publishes (producer.py), through a broker:
//
//   hermes serve --dir ./hermes-data
//   node build/js/examples/python/consumer.js [tcp://host:port] [trade.schema.json]
//   PYTHONPATH=clients/python python3 examples/python/producer.py [tcp://host:port] [trade.schema.json]
import { writeFile } from 'node:fs/promises'
import { ascii, enumeration, f64, open, struct, u32 } from 'hermes-mq'

const [, , url = 'tcp://127.0.0.1:9000', schemaFile = 'trade.schema.json'] = process.argv

const Trade = struct({ symbol: ascii(8), side: enumeration(['buy', 'sell']), price: f64, size: u32 }, { name: 'Trade' })
// The declaration stands here alone: Python makes its codec of this file. (`hermes info trades --schema` prints the same.)
await writeFile(schemaFile, `${JSON.stringify(Trade.schema, undefined, 2)}\n`)

await using hermes = await open(url)
const subscriber = await hermes.topic('trades', { codec: Trade }).subscriber({ from: 'earliest' })
console.log('waiting for trades')

let volume = 0
const bySymbol = new Map<string, number>()
receiving: for await (const batch of subscriber.batches()) {
  for (const { value, sequence } of batch) {
    if (value.symbol === 'END') {
      console.log(`received ${sequence} trades`)
      break receiving
    }
    volume += value.size * (value.side === 'buy' ? 1 : -1)
    bySymbol.set(value.symbol, (bySymbol.get(value.symbol) ?? 0) + value.price)
  }
}
for (const [symbol, sum] of bySymbol) console.log(`${symbol} ${(sum / 333).toFixed(2)} on average`)
console.log(`${volume} bought more than sold`)
