/** What the examples of docstrings need around them, by file and name. */
export const docstringContexts: Readonly<Record<string, { readonly before?: string; readonly after?: string }>> = {
  'lib/codec/encoder.ts Encoder': {
    before: `import { ascii, Decoder, Encoder, f64, struct, u32 } from 'hermes-mq'
const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
const trade = { symbol: 'BTC', price: 50_000, size: 3 }
const received: unknown[] = []
const socket = { write: (bytes: Uint8Array) => new Decoder(Trade).decode(bytes, (value) => received.push(value.price)) }`,
    after: `if (received.join() !== '50000') throw new Error(\`received: \${received}\`)`,
  },
  'lib/codec/struct/struct.ts struct': {
    before: `import { ascii, f64, struct, u32 } from 'hermes-mq'`,
    after: `if (Trade.byteLength !== 24) throw new Error(\`\${Trade.byteLength} bytes\`)`,
  },
  'lib/ring/spsc-ring.ts SpscRing': {
    before: `import { ascii, f64, SpscRing, struct, u32 } from 'hermes-mq'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
const Trade = struct({ symbol: ascii(8), price: f64, size: u32 })
const file = new URL(import.meta.url)
process.exitCode = 1
if (!isMainThread) {
  const inWorker = SpscRing.attach(workerData, { codec: Trade, role: 'consumer' })
  let trade = inWorker.tryPop()
  for (; trade === undefined; trade = inWorker.tryPop()) await new Promise((resolve) => setTimeout(resolve, 1))
  process.exit(trade.price === 50_000 ? 0 : 1)
}`,
    after: `ring.tryPush({ symbol: 'BTC', price: 50_000, size: 3 })
worker.on('exit', (code) => { process.exitCode = code })`,
  },
}
