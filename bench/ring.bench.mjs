// Rings between two worker threads and between two processes, 32-byte records, beside postMessage. A child process per
// trial; trials of all workloads take turns, and medians are shown.
//
//   node bench/ring.bench.mjs [--trials 5] [--only 'singles in place,…'] [--json]
//
// It needs two quiet cores: both sides poll, and neither sleeps (parking: false). Each workload says what its unit is. A round trip
// between processes is timed one by one, which includes one reading of the clock; its figure is the median of a trial.
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { isMainThread, MessageChannel, parentPort, Worker, workerData } from 'node:worker_threads'

const self = fileURLToPath(import.meta.url)
const capacity = 65_536
const itemBytes = 32
const batch = 256

/** By name: how a ring is made, and its two sides. `count` scales the number of items. */
async function load() {
  const { f64, u32 } = await import('../dist/codec/struct/field.js')
  const { struct } = await import('../dist/codec/struct/struct.js')
  const { SpscRing, MpmcRing, SpscByteRing, removeRing } = await import('../dist/ring/index.js')
  const { open } = await import('../dist/client/open.js')
  const Quote = struct({ time: f64, bid: f64, ask: f64, bidSize: u32, askSize: u32 })
  if (Quote.maxBytes !== itemBytes) throw new Error('the record must take 32 bytes')
  const quote = { time: 1, bid: 2, ask: 3, bidSize: 4, askSize: 5 }

  const writeInPlace = (words, doubles, at, i) => {
    doubles[at >> 3] = i
    doubles[(at >> 3) + 1] = i + 0.5
    doubles[(at >> 3) + 2] = i + 0.75
    words[(at >> 2) + 6] = i
    words[(at >> 2) + 7] = i
  }
  const viewsOf = (ring) => {
    const { buffer, byteOffset, byteLength } = ring.region.bytes
    return [new Int32Array(buffer, byteOffset, byteLength >> 2), new Float64Array(buffer, byteOffset, byteLength >> 3)]
  }

  return {
    'singles in place': {
      create: () => SpscRing.create({ capacity, itemBytes, parking: false }),
      produce(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'producer' })
        const [words, doubles] = viewsOf(ring)
        for (let i = 0; i < count; i++) {
          while (ring.claim(1) === 0);
          writeInPlace(words, doubles, ring.claimOffset, i)
          ring.commit(1)
        }
      },
      consume(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'consumer' })
        const [, doubles] = viewsOf(ring)
        let sum = 0
        for (let i = 0; i < count; i++) {
          while (ring.peek(1) === 0);
          sum += doubles[ring.peekOffset >> 3]
          ring.consume(1)
        }
        return sum
      },
    },
    'singles, struct codec': {
      create: () => SpscRing.create({ capacity, codec: Quote, parking: false }),
      produce(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'producer', codec: Quote })
        for (let i = 0; i < count; i++) {
          quote.time = i
          while (!ring.tryPush(quote));
        }
      },
      consume(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'consumer', codec: Quote })
        let sum = 0
        const handler = (view) => {
          sum += view.time
        }
        for (let i = 0; i < count; ) i += ring.poll(handler)
        return sum
      },
    },
    'batches of 256 in place': {
      count: 4,
      create: () => SpscRing.create({ capacity, itemBytes, parking: false }),
      produce(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'producer' })
        const [words, doubles] = viewsOf(ring)
        for (let i = 0; i < count; ) {
          const n = ring.claim(batch)
          const at = ring.claimOffset
          for (let k = 0; k < n; k++) writeInPlace(words, doubles, at + k * itemBytes, i + k)
          ring.commit(n)
          i += n
        }
      },
      consume(handle, count) {
        const ring = SpscRing.attach(handle, { role: 'consumer' })
        const [, doubles] = viewsOf(ring)
        let sum = 0
        for (let i = 0; i < count; ) {
          const n = ring.peek(batch)
          const at = ring.peekOffset >> 3
          for (let k = 0; k < n; k++) sum += doubles[at + k * 4]
          ring.consume(n)
          i += n
        }
        return sum
      },
    },
    'frames of 32 bytes': {
      create: () => SpscByteRing.create({ capacity: 1 << 21, parking: false }),
      produce(handle, count) {
        const ring = SpscByteRing.attach(handle, { role: 'producer' })
        const [words, doubles] = viewsOf(ring)
        for (let i = 0; i < count; i++) {
          while (!ring.claim(itemBytes));
          writeInPlace(words, doubles, ring.claimOffset, i)
          ring.commit(itemBytes)
        }
      },
      consume(handle, count) {
        const ring = SpscByteRing.attach(handle, { role: 'consumer', codec: Quote })
        let sum = 0
        const handler = (view) => {
          sum += view.time
        }
        for (let i = 0; i < count; ) i += ring.poll(handler)
        return sum
      },
    },
    'mpmc, one to one, struct codec': {
      create: () => MpmcRing.create({ capacity, codec: Quote, parking: false }),
      produce(handle, count) {
        const ring = MpmcRing.attach(handle, { codec: Quote })
        for (let i = 0; i < count; i++) {
          quote.time = i
          while (!ring.tryPush(quote));
        }
      },
      consume(handle, count) {
        const ring = MpmcRing.attach(handle, { codec: Quote })
        let sum = 0
        const handler = (view) => {
          sum += view.time
        }
        for (let i = 0; i < count; ) i += ring.poll(handler)
        return sum
      },
    },
    'round trip': {
      unit: 'ns',
      count: 1 / 20,
      create: () => [
        SpscRing.create({ capacity: 64, itemBytes, parking: false }),
        SpscRing.create({ capacity: 64, itemBytes, parking: false }),
      ],
      produce([there, back], count) {
        const out = SpscRing.attach(there, { role: 'producer' })
        const home = SpscRing.attach(back, { role: 'consumer' })
        for (let i = 0; i < count; i++) {
          while (out.claim(1) === 0);
          out.region.data.setFloat64(out.claimOffset, i, true)
          out.commit(1)
          while (home.peek(1) === 0);
          home.consume(1)
        }
      },
      consume([there, back], count) {
        const home = SpscRing.attach(there, { role: 'consumer' })
        const out = SpscRing.attach(back, { role: 'producer' })
        let sum = 0
        for (let i = 0; i < count; i++) {
          while (home.peek(1) === 0);
          const value = home.region.data.getFloat64(home.peekOffset, true)
          sum += value
          home.consume(1)
          while (out.claim(1) === 0);
          out.commit(1)
        }
        return sum
      },
    },
    'round trip, two processes': {
      unit: 'ns',
      count: 1 / 20,
      processes: true,
      create(name) {
        for (const way of ['there', 'back']) {
          SpscRing.create({ name: `${name}-${way}`, capacity: 64, itemBytes, parking: false }).close()
        }
      },
      remove(name) {
        for (const way of ['there', 'back']) removeRing(`${name}-${way}`)
      },
      async ping(name, count, times) {
        const out = SpscRing.attach(`${name}-there`, { role: 'producer' })
        const home = SpscRing.attach(`${name}-back`, { role: 'consumer' })
        for (let i = 0; i < count; i++) {
          const begun = performance.now()
          while (out.claim(1) === 0);
          out.region.data.setFloat64(out.claimOffset, i, true)
          out.commit(1)
          while (home.peek(1) === 0);
          if (home.region.data.getFloat64(home.peekOffset, true) !== i) throw new Error('wrong content')
          home.consume(1)
          times[i] = performance.now() - begun
        }
      },
      async pong(name, count, ready) {
        const home = SpscRing.attach(`${name}-there`, { role: 'consumer' })
        const out = SpscRing.attach(`${name}-back`, { role: 'producer' })
        ready()
        for (let i = 0; i < count; i++) {
          while (home.peek(1) === 0);
          const value = home.region.data.getFloat64(home.peekOffset, true)
          home.consume(1)
          while (out.claim(1) === 0);
          out.region.data.setFloat64(out.claimOffset, value, true)
          out.commit(1)
        }
      },
    },
    'round trip, two processes, ring: topics': {
      unit: 'ns',
      count: 1 / 20,
      processes: true,
      create() {},
      remove: (name) => rmSync(`/dev/shm/hermes.rings-${name}`, { recursive: true, force: true }),
      async ping(name, count, times) {
        const hermes = await open(`ring:${name}`)
        const publisher = await hermes.topic('there', { codec: Quote }).publisher()
        const subscriber = await hermes.topic('back', { codec: Quote }).subscriber()
        let got = -1
        const handler = (view) => {
          got = view.time
        }
        for (let i = 0; i < count; i++) {
          const begun = performance.now()
          quote.time = i
          publisher.publish(quote)
          while (subscriber.poll(handler) === 0);
          if (got !== i) throw new Error('wrong content')
          times[i] = performance.now() - begun
        }
        await hermes.close()
      },
      async pong(name, count, ready) {
        const hermes = await open(`ring:${name}`)
        const publisher = await hermes.topic('back', { codec: Quote }).publisher()
        const subscriber = await hermes.topic('there', { codec: Quote }).subscriber()
        const handler = (view) => {
          quote.time = view.time
          publisher.publish(quote)
        }
        ready()
        for (let i = 0; i < count; ) i += subscriber.poll(handler)
        await hermes.close()
      },
    },
    postMessage: { peer: true, count: 1 / 40 },
  }
}

function postMessageTrial(count) {
  // Objects with the same fields. A window of 1,000 unanswered ones keeps the queue from growing without bound.
  const { port1, port2 } = new MessageChannel()
  const worker = new Worker(self, { workerData: { postMessage: port2, count }, transferList: [port2] })
  return new Promise((resolve) => {
    let sent = 0
    let begin = 0n
    const fill = () => {
      for (let i = 0; i < 500 && sent < count; i++)
        port1.postMessage({ time: sent++, bid: 2, ask: 3, bidSize: 4, askSize: 5 })
    }
    port1.on('message', (message) => {
      if (message === 'ready') {
        begin = process.hrtime.bigint()
        fill()
        fill()
      } else if (message === 'more') fill()
      else {
        resolve(Number(process.hrtime.bigint() - begin))
        worker.terminate()
        port1.close()
      }
    })
  })
}

/** Round trips between this process and another. The first tenth warms up; the median of the rest counts. */
async function processTrial(name, workload, count) {
  const place = `bench-${process.pid}`
  workload.create(place)
  const child = spawn(process.execPath, [self, '--pong', name, '--place', place, '--items', String(count)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  try {
    const ended = once(child, 'exit')
    await Promise.race([once(child.stdout, 'data'), ended])
    if (child.exitCode !== null) throw new Error(`the other process ended with ${child.exitCode}`)
    const times = new Float64Array(count)
    await workload.ping(place, count, times)
    await ended
    const sorted = times.subarray(Math.floor(count / 10)).toSorted()
    return { ns: sorted[sorted.length >> 1] * 1e6, p99: sorted[Math.floor(sorted.length * 0.99)] * 1e6 }
  } finally {
    child.kill('SIGKILL')
    workload.remove(place)
  }
}

async function trial(name, items) {
  const workload = (await load())[name]
  const count = Math.round(items * (workload.count ?? 1))
  if (workload.processes) return processTrial(name, workload, count)
  if (workload.peer) return { rate: (count * 1e3) / (await postMessageTrial(count)) }
  const made = workload.create()
  const handle = Array.isArray(made) ? made.map((ring) => ring.handle) : made.handle
  const gate = new Int32Array(new SharedArrayBuffer(8))
  const worker = new Worker(self, { workerData: { name, handle, count, gate } })
  Atomics.wait(gate, 0, 0)
  const done = new Promise((resolve) => worker.once('message', resolve))
  const begin = process.hrtime.bigint()
  Atomics.store(gate, 1, 1)
  workload.produce(handle, count)
  const sum = await done
  const ns = Number(process.hrtime.bigint() - begin)
  if (sum !== (count * (count - 1)) / 2) throw new Error(`${name}: wrong content, ${sum}`)
  return workload.unit === 'ns' ? { ns: ns / count } : { rate: (count * 1e3) / ns }
}

function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1]
}

async function main() {
  const { values } = parseArgs({
    options: {
      trials: { type: 'string', default: '5' },
      items: { type: 'string', default: '20000000' },
      json: { type: 'boolean', default: false },
      only: { type: 'string' },
      trial: { type: 'string' },
      pong: { type: 'string' },
      place: { type: 'string' },
    },
  })
  if (values.pong !== undefined) {
    await (await load())[values.pong].pong(values.place, Number(values.items), () => process.stdout.write('ready\n'))
    return
  }
  if (values.trial !== undefined) {
    console.log(JSON.stringify(await trial(values.trial, Number(values.items))))
    return
  }
  const only = values.only?.split(',').map((name) => name.trim())
  const names = Object.keys(await load()).filter(
    (name) => only === undefined || only.some((one) => name.startsWith(one)),
  )
  const load1 = loadavg()[0].toFixed(1)
  const results = Object.fromEntries(names.map((name) => [name, []]))
  for (let i = 0; i < Number(values.trials); i++) {
    for (const name of names) {
      const run = spawnSync(process.execPath, [self, '--trial', name, '--items', values.items], { encoding: 'utf8' })
      if (run.status !== 0) throw new Error(`${name}: ${run.stderr}`)
      results[name].push(JSON.parse(run.stdout))
    }
  }
  const report = names.map((name) => {
    const unit = results[name][0].ns === undefined ? 'rate' : 'ns'
    const all = results[name].map((result) => result[unit])
    return {
      name,
      unit: unit === 'ns' ? 'ns' : 'million/s',
      median: median(all),
      least: Math.min(...all),
      most: Math.max(...all),
    }
  })
  if (values.json) {
    console.log(
      JSON.stringify({
        load: Number(load1),
        cpu: cpus()[0].model,
        cores: cpus().length,
        node: process.version,
        report,
      }),
    )
    return
  }
  console.log(
    `${cpus()[0].model}, ${cpus().length} cores, Node ${process.version}, load ${load1} at the start, median of ${values.trials} (least … most)`,
  )
  for (const { name, unit, median: middle, least, most } of report) {
    console.log(
      `${name.padEnd(40)} ${middle.toFixed(1).padStart(8)} ${unit.padEnd(10)} (${least.toFixed(1)} … ${most.toFixed(1)})`,
    )
  }
}

async function work() {
  if (workerData.postMessage !== undefined) {
    const port = workerData.postMessage
    let seen = 0
    port.on('message', () => {
      seen++
      if (seen === workerData.count) port.postMessage('done')
      else if (seen % 500 === 0) port.postMessage('more')
    })
    port.postMessage('ready')
    return
  }
  const { name, handle, count, gate } = workerData
  const workload = (await load())[name]
  Atomics.store(gate, 0, 1)
  Atomics.notify(gate, 0)
  while (Atomics.load(gate, 1) === 0);
  parentPort.postMessage(workload.consume(handle, count))
}

await (isMainThread ? main() : work())
