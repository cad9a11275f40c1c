// nats-server with JetStream and npm nats: a stream in files, a pull consumer, each message acknowledged.
import type { Roles } from '../support/workload.js'
import { loadPeer } from './installed.js'

/** What is used of nats's interface. */
interface Message {
  readonly data: Uint8Array
  ack(): void
}
interface Connection {
  jetstreamManager(): Promise<{
    readonly streams: { add(config: object): Promise<unknown> }
    readonly consumers: { add(stream: string, config: object): Promise<unknown> }
  }>
  jetstream(): {
    publish(subject: string, payload: Uint8Array): Promise<unknown>
    readonly consumers: {
      get(
        stream: string,
        consumer: string,
      ): Promise<{ fetch(options: { max_messages: number; expires: number }): Promise<AsyncIterable<Message>> }>
    }
  }
  flush(): Promise<void>
  close(): Promise<void>
}
interface Nats {
  connect(options: { readonly servers: string }): Promise<Connection>
}

const payload = new Uint8Array(64).fill(7)

async function batches({ url, count }: { readonly url: string; readonly count: number }): Promise<number> {
  const connection = await (loadPeer('nats') as Nats).connect({ servers: url })
  const manager = await connection.jetstreamManager()
  await manager.streams.add({ name: 'bench', subjects: ['bench'] })
  await manager.consumers.add('bench', { durable_name: 'g', ack_policy: 'explicit', max_ack_pending: 10_000 })
  const stream = connection.jetstream()
  for (let done = 0; done < count; done += 500)
    await Promise.all(Array.from({ length: 500 }, () => stream.publish('bench', payload)))
  const consumer = await stream.consumers.get('bench', 'g')
  const begun = performance.now()
  for (let handled = 0; handled < count; ) {
    for await (const message of await consumer.fetch({ max_messages: 256, expires: 5000 })) {
      if (message.data.length !== payload.length) throw new Error('a message is not whole')
      message.ack()
      handled++
    }
  }
  await connection.flush()
  const seconds = (performance.now() - begun) / 1000
  await connection.close()
  return seconds
}

export const roles: Roles = { batches }
