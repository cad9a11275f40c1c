// Requests to a responder in another process, and its replies: there and back, one at a time, and 64 at a time. A directory, and a broker on loopback in a
// process of its own. JSON values of some 30 bytes.
//
//   node bench/requests.bench.mjs [--count 5000] [--json]
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const self = fileURLToPath(import.meta.url)
const { open } = await import('../dist/index.js')
const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '5000' },
    json: { type: 'boolean', default: false },
    respond: { type: 'string' },
    serve: { type: 'string' },
  },
})

if (values.respond !== undefined) {
  const hermes = await open(values.respond)
  await hermes.responder('echo', (request) => request, { concurrency: 64 })
  console.log('ready')
} else if (values.serve !== undefined) {
  const { serve } = await import('../dist/broker/index.js')
  console.log((await serve({ dir: values.serve, port: 0, log: () => {} })).url)
} else {
  await main(Number(values.count))
}

async function start(...args) {
  const child = spawn(process.execPath, [self, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = await once(child.stdout, 'data')
  return { child, said: String(said).trim() }
}

async function main(count) {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-bench-'))
  const broker = await start('--serve', join(folder, 'served'))
  const results = {}
  const children = [broker.child]
  try {
    for (const [name, place] of [
      ['directory', join(folder, 'here')],
      ['broker', broker.said],
    ]) {
      children.push((await start('--respond', place)).child)
      results[name] = await measure(place, count)
    }
  } finally {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  const machine = { cpu: cpus()[0]?.model, node: process.version, load: loadavg()[0] }
  if (values.json) return console.log(JSON.stringify({ count, machine, results }))
  for (const [name, { p50Us, p99Us, perSecond }] of Object.entries(results))
    console.log(
      `${name}: p50 ${p50Us.toFixed(0)} µs, p99 ${p99Us.toFixed(0)} µs; ${Math.round(perSecond)}/s with 64 at a time`,
    )
  console.log(`${machine.cpu}, Node ${machine.node}, load ${machine.load.toFixed(1)}`)
}

async function measure(place, count) {
  const hermes = await open(place)
  const requester = await hermes.requester('echo')
  const ask = (n) => requester.request({ id: n, text: 'some text' })
  for (let n = 0; n < count / 5; n++) await ask(n)
  const times = []
  for (let n = 0; n < count; n++) {
    const begun = performance.now()
    const { id } = await ask(n)
    times.push((performance.now() - begun) * 1000)
    if (id !== n) throw new Error(`the reply to ${n} is that to ${id}`)
  }
  times.sort((a, b) => a - b)
  const begun = performance.now()
  let asked = 0
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      while (asked < 4 * count) await ask(asked++)
    }),
  )
  const perSecond = (4 * count * 1000) / (performance.now() - begun)
  await hermes.close()
  return { p50Us: times[count >> 1], p99Us: times[Math.floor(count * 0.99)], perSecond }
}
