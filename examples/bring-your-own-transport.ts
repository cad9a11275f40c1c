// The codecs and the frame format by themselves, over a plain TCP socket: no topic, no log.
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { ascii, Decoder, Encoder, f64, struct } from 'hermes-mq'

const Price = struct({ symbol: ascii(8), price: f64 })
const count = 1_000

/** Reads frames until the socket ends. TCP cuts them anywhere: what is left over waits for the bytes that follow. */
async function receive(socket: Socket): Promise<void> {
  // A checksum covers each frame. By default damage is an error; here we'd rather go on with the next whole frame.
  const decoder = new Decoder(Price, {
    onDamage: 'resynchronise',
    damage: ({ bytes, reason }) => console.log(`passed over ${bytes} bytes: ${reason}`),
  })
  let rest = Buffer.alloc(0)
  let received = 0
  let sum = 0
  for await (const chunk of socket) {
    const bytes = Buffer.concat([rest, chunk as Buffer])
    const consumed = decoder.decode(bytes, (value) => {
      received++
      sum += value.price
    })
    rest = bytes.subarray(consumed)
  }
  console.log(`received ${received} prices, ${(sum / received).toFixed(2)} on average`)
}

const server = createServer()
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const received = once(server, 'connection').then(([socket]) => receive(socket as Socket))

const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
const encoder = new Encoder(Price, { capacity: 16_384, sequence: 1 })
const prices = Array.from({ length: count }, (_, i) => ({ symbol: 'BTC', price: 50_000 + i }))
socket.write('not a frame!')
for (let sent = 0; sent < prices.length; ) {
  sent += encoder.encodeBatch(prices, sent)
  // `bytes` is the encoder's own memory, and the socket may still hold it when we encode the next batch: send a copy.
  if (!socket.write(encoder.bytes.slice())) await once(socket, 'drain')
  encoder.reset()
}
socket.end()
console.log(`sent ${encoder.sequence - 1} prices`)
await received
server.close()
