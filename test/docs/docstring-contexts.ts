interface Context {
  readonly before?: string
  readonly after?: string
  readonly prints?: string
  /** `hermes serve` runs meanwhile. */
  readonly broker?: boolean
}

const pythonClient = `import hermes_mq
client = hermes_mq.connect("tcp://127.0.0.1:9000")`

/** What the examples of docstrings need around them, by file and name. */
export const docstringContexts: Readonly<Record<string, Context>> = {
  'clients/python/hermes_mq/__init__.py module': { broker: true, prints: '1 hello\n' },
  'clients/python/hermes_mq/aio.py module': { broker: true, prints: '1\n' },
  'clients/python/hermes_mq/group.py Group': {
    broker: true,
    before: `${pythonClient}
with client.topic("mails", "json").publisher() as publisher:
    publisher.publish_batch(["ann", "bob"])
import threading
def send(mail):
    print(mail)
    # It waits until this one is settled; then the loop is over.
    if mail == "bob":
        threading.Thread(target=group.close).start()`,
    after: 'client.close()',
    prints: 'ann\nbob\n',
  },
  'clients/python/hermes_mq/requester.py Requester': {
    broker: true,
    before: pythonClient,
    after: 'client.close()',
    prints: '5\n',
  },
  'clients/python/hermes_mq/structs.py struct': {
    broker: true,
    before: `${pythonClient}
import json, subprocess
schema = '{"symbol":"ascii(8)","bid":"f64"}'
subprocess.run(["hermes", "topics", "create", "quotes", "--url", "tcp://127.0.0.1:9000", "--codec", "struct", "--schema", schema], check=True, stdout=subprocess.DEVNULL)
with open("quote.schema.json", "w") as file:
    json.dump(client.info("quotes").codec.schema, file)`,
    after: 'print([message.value for message in quotes.replay()])\nclient.close()',
    prints: "[{'symbol': 'BTC', 'bid': 49990.0}]\n",
  },
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
