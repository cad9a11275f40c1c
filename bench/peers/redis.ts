// redis-server with npm ioredis: PUBLISH and SUBSCRIBE, the commands of a turn sent together. Nothing is stored, and nothing sent again.
import { once } from 'node:events'
import { loadPeer } from './installed.js'
import { type PubSub, pubSubRoles } from './pub-sub.js'

/** What is used of ioredis's interface. */
interface Connection {
  publish(channel: string, payload: Buffer): Promise<number>
  subscribe(channel: string): Promise<unknown>
  on(event: 'messageBuffer', handler: (channel: Buffer, payload: Buffer) => void): void
  quit(): Promise<unknown>
}
type Redis = new (url: string, options: { readonly enableAutoPipelining: boolean }) => Connection & NodeJS.EventEmitter

async function connect(url: string): Promise<PubSub> {
  const { Redis } = loadPeer('ioredis') as { readonly Redis: Redis }
  const open = async () => {
    const connection = new Redis(url, { enableAutoPipelining: true })
    await once(connection, 'ready')
    return connection
  }
  const sending = await open()
  // Who subscribes can do nothing else on that connection.
  let receiving: Connection | undefined
  let failure: unknown
  return {
    publish(channel, payload) {
      if (failure !== undefined) throw failure
      sending.publish(channel, Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)).catch((error) => {
        failure = error
      })
    },
    async subscribe(channel, handler) {
      receiving ??= await open()
      receiving.on('messageBuffer', (_channel, payload) => handler(payload))
      await receiving.subscribe(channel)
    },
    async close() {
      await Promise.all([sending.quit(), receiving?.quit()])
    },
  }
}

export const roles = pubSubRoles(connect)
