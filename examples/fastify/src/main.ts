// The server, who posts to it, and a reader as a browser is one. Takes a place as its argument; without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'hermes-mq'
import { makeServer, type Trade } from './server.js'

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-fastify-')))
const hermes = await open(place)
const server = await makeServer(hermes)

const post = async (trade: unknown) => {
  const headers = { 'Content-Type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: JSON.stringify(trade) })
  return response.status
}

/** Reads `count` events behind the one with the id `last`. Returns the id of the last of them. */
async function read(count: number, last?: string): Promise<string> {
  const stop = new AbortController()
  const headers = last === undefined ? {} : { 'Last-Event-ID': last }
  const response = await fetch(url, { headers, signal: stop.signal })
  let [text, seen, id] = ['', 0, '']
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    const events = (text + chunk).split('\n\n')
    text = events.pop() ?? ''
    for (const event of events) {
      const [, number = '', data = ''] = /^id: (\d+)\ndata: (.*)$/.exec(event) ?? []
      const { symbol, price } = JSON.parse(data) as Trade
      console.log(`  ${number} ${symbol} ${price}`)
      id = number
      if (++seen === count) {
        stop.abort()
        return id
      }
    }
  }
  throw new Error('the server ended the stream')
}

const url = `${await server.listen({ host: '127.0.0.1', port: 0 })}/trades`
try {
  console.log('posted:', await post({ symbol: 'BTC', price: 50_000 }), await post({ symbol: 'ETH', price: 2_500.5 }))
  console.log('refused:', await post({ symbol: 'BTC' }))
  console.log('a browser reads:')
  const last = await read(2)
  await post({ symbol: 'SOL', price: 140.25 })
  console.log('it comes again, and goes on:')
  await read(1, last)
} finally {
  await server.close()
  await hermes.close()
  if (given === undefined) await rm(place, { recursive: true })
}
console.log('the server has ended')
