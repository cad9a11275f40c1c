// nats-server with npm nats: core publish and subscribe. Nothing is stored, and nothing sent again.
import { loadPeer } from './installed.js'
import { type PubSub, pubSubRoles } from './pub-sub.js'

/** What is used of nats's interface. */
interface Connection {
  publish(subject: string, payload: Uint8Array): void
  subscribe(
    subject: string,
    options: { callback(error: Error | null, message: { readonly data: Uint8Array }): void },
  ): void
  flush(): Promise<void>
  close(): Promise<void>
}
interface Nats {
  connect(options: { readonly servers: string }): Promise<Connection>
}

async function connect(url: string): Promise<PubSub> {
  const connection = await (loadPeer('nats') as Nats).connect({ servers: url })
  return {
    publish: (subject, payload) => connection.publish(subject, payload),
    async subscribe(subject, handler) {
      connection.subscribe(subject, {
        callback(error, { data }) {
          if (error !== null) throw error
          handler(data)
        },
      })
      await connection.flush()
    },
    close: () => connection.close(),
  }
}

export const roles = pubSubRoles(connect)
