// What encoding and reading cost, without any transport: nanoseconds for each operation, the best of many short trials.
// Run it after `npm run build`: node bench/codec.bench.mjs [--json]
import { cpus } from 'node:os'
import { Decoder } from '../dist/codec/decoder.js'
import { Encoder } from '../dist/codec/encoder.js'
import { json } from '../dist/codec/json.js'
import { msgpack } from '../dist/codec/msgpack.js'
import { raw } from '../dist/codec/raw.js'
import { ascii, enumeration, f64, u32, u53 } from '../dist/codec/struct/field.js'
import { canGenerate } from '../dist/codec/struct/generate.js'
import { struct } from '../dist/codec/struct/struct.js'
import { text } from '../dist/codec/text.js'
import { crc32Range } from '../dist/frame/crc32.js'

const rounds = 20_480
const trials = 300
const slots = 1024
const stride = 256

/** 10 fields in 64 bytes, as market data has them. */
const Quote = struct({
  symbol: ascii(8),
  bid: f64,
  ask: f64,
  bidSize: u32,
  askSize: u32,
  orderId: u53,
  time: f64,
  last: f64,
  sequence: u32,
  side: enumeration(['buy', 'sell']),
})
const Numbers = struct({ a: f64, b: f64, c: f64, d: f64, e: f64, f: f64, g: f64, h: f64 })

const symbols = ['BTC', 'ETHUSD', 'AAPL', 'MSFT', 'GOOG', 'X', 'LONGNAME', 'SOL']
const quotes = Array.from({ length: slots }, (_, i) => ({
  symbol: symbols[i & 7],
  bid: 1 + i / 7,
  ask: 2 + i,
  bidSize: i,
  askSize: i + 1,
  orderId: 2 ** 40 + i,
  time: 1.7e9 + i,
  last: i / 3,
  sequence: i,
  side: i & 1 ? 'buy' : 'sell',
}))
const numbers = quotes.map((_, i) => ({ a: i + 0.5, b: i / 3, c: 3, d: i, e: 5.5, f: 6.5, g: i * 2, h: 8 }))
const bytes = new Uint8Array(slots * stride)
const region = { bytes, data: new DataView(bytes.buffer) }
const results = []
// Keeps results alive, so that no loop is optimised away.
let sink = 0

function measure(name, work) {
  for (let warm = 0; warm < 20; warm++) sink += work(50_000)
  let best = Number.POSITIVE_INFINITY
  for (let trial = 0; trial < trials; trial++) {
    const start = process.hrtime.bigint()
    sink += work(rounds)
    best = Math.min(best, Number(process.hrtime.bigint() - start) / rounds)
  }
  results.push({ name, ns: Math.round(best * 10) / 10 })
}

const encoding = (codec, values) => (count) => {
  let sum = 0
  for (let i = 0; i < count; i++) sum += codec.encode(values[i & 1023], region, (i & 1023) * stride, bytes.length)
  return sum
}

function fill(codec, values) {
  return values.map((value, i) => codec.encode(value, region, i * stride, bytes.length))
}

measure('struct, 8 floats: encode', encoding(Numbers, numbers))
fill(Numbers, numbers)
const numberReader = Numbers.reader()
measure('struct, 8 floats: read all', (count) => {
  let sum = 0
  for (let i = 0; i < count; i++) {
    const view = numberReader.read(region, (i & 1023) * stride, 64)
    sum += view.a + view.b + view.c + view.d + view.e + view.f + view.g + view.h
  }
  return sum
})

measure('struct, quote: encode', encoding(Quote, quotes))
fill(Quote, quotes)
const reader = Quote.reader()
measure('struct, quote: point the view at a message', (count) => {
  let sum = 0
  for (let i = 0; i < count; i++) sum += reader.read(region, (i & 1023) * stride, Quote.byteLength) === null ? 1 : 0
  return sum
})
for (const field of ['bid', 'bidSize', 'orderId', 'symbol', 'side']) {
  const body = `for (let i = 0; i < count; i++) { const seen = reader.read(region, (i & 1023) * ${stride}, size).${field}; sum += seen === last ? 1 : 2; last = seen }`
  const loop = new Function('reader', 'region', 'size', 'count', `let sum = 0, last; ${body}; return sum`)
  measure(`struct, quote: the same, and read ${field}`, (count) => loop(reader, region, Quote.byteLength, count))
}
measure('struct, quote: owned value', (count) => {
  let sum = 0
  for (let i = 0; i < count; i++) sum += Quote.decode(region, (i & 1023) * stride, Quote.byteLength).bid
  return sum
})

const samples = [
  ['raw, 64 bytes', raw, quotes.map((_, i) => new Uint8Array(64).fill(i))],
  ['text, 40 characters', text, quotes.map((_, i) => `${i} `.padEnd(40, 'x'))],
  ['json, quote', json, quotes],
  ['msgpack, quote', msgpack, quotes],
]
for (const [name, codec, values] of samples) {
  measure(`${name}: encode`, encoding(codec, values))
  const lengths = fill(codec, values)
  measure(`${name}: decode`, (count) => {
    let sum = 0
    for (let i = 0; i < count; i++) sum += codec.decode(region, (i & 1023) * stride, lengths[i & 1023]) === null ? 1 : 0
    return sum
  })
}

measure('crc32 in TypeScript, 88 bytes', (count) => {
  let sum = 0
  for (let i = 0; i < count; i++) sum += crc32Range(bytes, (i & 1023) * stride, (i & 1023) * stride + 88, 0)
  return sum
})
const encoder = new Encoder(Quote, { capacity: rounds * 128 })
measure('Encoder, quote: encodeBatch, for each frame', (count) => {
  let sum = 0
  for (let done = 0; done < count; ) {
    encoder.reset()
    done += encoder.encodeBatch(quotes)
    sum += encoder.length
  }
  return sum
})
encoder.reset()
for (let done = 0; done < rounds; done++) encoder.encode(quotes[done & 1023])
const frames = encoder.bytes
const decoder = new Decoder(Quote)
measure('Decoder, quote: decode, for each frame', (count) => {
  let seen = 0
  while (seen < count) {
    decoder.decode(frames, (view) => {
      seen += view.bid > 0 ? 1 : 2
    })
  }
  return seen
})

const about = {
  node: process.version,
  cpu: cpus()[0]?.model ?? 'unknown',
  generatedCode: canGenerate,
  checksum: sink > 0,
}
if (process.argv.includes('--json')) console.log(JSON.stringify({ about, results }))
else {
  console.log(`${about.cpu}, Node ${about.node}, generated code: ${canGenerate ? 'yes' : 'no'}`)
  for (const { name, ns } of results) console.log(`${name.padEnd(52)} ${ns.toFixed(1).padStart(8)} ns`)
}
