// How long it takes until the work of a member that is killed (SIGKILL) or stopped (SIGSTOP; its lease is 300 ms) is with another one.
//
//   node bench/hand-over.bench.mjs local|tcp|python SIGKILL|SIGSTOP 50
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '../dist/broker/broker.js'
import { open, text } from '../dist/index.js'

const [how = 'local', signal = 'SIGKILL', count = 50] = process.argv.slice(2)
const root = new URL('..', import.meta.url).pathname
const dir = mkdtempSync(join(tmpdir(), 'hermes-hand-over-'))
const broker = await serve({ dir, port: 0 })
const place = how === 'local' ? dir : broker.url
const leaseMs = 300
const file = how === 'python' ? `${dir}/m.py` : `${dir}/m.mjs`
writeFileSync(
  file,
  how === 'python'
    ? `
import sys, time
sys.path.insert(0, '${root}clients/python')
from hermes_mq import connect
topic = connect(${JSON.stringify(place)}).topic("t", "text", segment_bytes=1048576, max_payload_bytes=4096)
for _ in topic.group("g", lease=0.3):
    print("got", flush=True)
    time.sleep(1000)`
    : `
import { open, text } from '${root}dist/index.js'
const hermes = await open(${JSON.stringify(place)})
for await (const _ of await hermes.topic('t', { codec: text, segmentBytes: 1048576, maxPayloadBytes: 4096 }).group('g', { leaseMs: ${leaseMs} })) { console.log('got'); await new Promise(r => setTimeout(r, 1e6)) }`,
)
const hermes = await open(dir)
const topic = hermes.topic('t', { codec: text, segmentBytes: 1048576, maxPayloadBytes: 4096 })
const publisher = await topic.publisher()
await (await topic.group('g', { leaseMs })).close()
const times = []
for (let n = 0; n < count; n++) {
  publisher.publish(String(n))
  const child = spawn(how === 'python' ? 'python3' : process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const other = await topic.group('g', { leaseMs })
  const taking = (async () => {
    for await (const job of other) {
      const at = performance.now()
      await job.ack()
      return at
    }
  })()
  await new Promise((r) => setTimeout(r, 20 + Math.random() * 60))
  const at = performance.now()
  child.kill(signal)
  times.push((await taking) - at)
  child.kill('SIGKILL')
  await other.close()
}
times.sort((a, b) => a - b)
console.log(how, signal, times.length, 'median', times[times.length >> 1].toFixed(0), 'worst', times.at(-1).toFixed(0))
await hermes.close()
await broker.close()
rmSync(dir, { recursive: true, force: true })
process.exit()
