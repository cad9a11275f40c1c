// Two routes over one topic: trades come by POST, and go on to any number of browsers as Server-Sent Events.
import { once } from 'node:events'
import Fastify, { type FastifyInstance } from 'fastify'
import { type Hermes, HermesError, json } from 'hermes-mq'

export interface Trade {
  readonly symbol: string
  readonly price: number
}

const Trades = json<Trade>()

/** What a body has to be: Fastify replies 400 to others. */
const body = {
  type: 'object',
  required: ['symbol', 'price'],
  additionalProperties: false,
  properties: { symbol: { type: 'string', maxLength: 16 }, price: { type: 'number' } },
}

export async function makeServer(hermes: Hermes): Promise<FastifyInstance> {
  const server = Fastify({ forceCloseConnections: true })
  const trades = hermes.topic('trades', { codec: Trades })
  const publisher = await trades.publisher()

  server.post<{ Body: Trade }>('/trades', { schema: { body } }, async (request, reply) => {
    const { sequence } = await publisher.publishAsync(request.body)
    return reply.code(201).send({ sequence })
  })

  server.get('/trades', async (request, reply) => {
    // A browser that comes again says the id of the last event it has.
    const last = Number(request.headers['last-event-id'] ?? Number.NaN)
    const from = Number.isSafeInteger(last) && last >= 0 ? last + 1 : 'earliest'
    const subscriber = await trades.subscriber({ from })
    const gone = new AbortController()
    reply.hijack()
    reply.raw.on('close', () => gone.abort())
    reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
    reply.raw.flushHeaders()
    try {
      while (!gone.signal.aborted) {
        await subscriber.ready({ signal: gone.signal })
        const parts: string[] = []
        // No more than 256 in one write: what the browser has not taken yet is not kept in memory, but in the log.
        subscriber.poll((trade, { sequence }) => parts.push(`id: ${sequence}\ndata: ${JSON.stringify(trade)}\n\n`), 256)
        if (!reply.raw.write(parts.join(''))) await once(reply.raw, 'drain', { signal: gone.signal })
      }
    } catch (error) {
      // (the browser went away, or the server closes)
      if (!gone.signal.aborted && !(error instanceof HermesError && error.code === 'CLOSED')) throw error
    } finally {
      await subscriber.close()
      reply.raw.end()
    }
  })
  return server
}
