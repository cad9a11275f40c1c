import { type JetStreamManager, jetstreamManager } from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'

/** Does something with the streams behind Hermes' back. */
export async function streamsOf<T>(
  url: string,
  work: (manager: JetStreamManager, connection: NatsConnection) => Promise<T>,
  { timeout = 20_000, ...login }: { readonly user?: string; readonly pass?: string; readonly timeout?: number } = {},
): Promise<T> {
  const connection = await connect({ servers: url.replace('nats://', '').split(','), timeout, ...login })
  try {
    return await work(await jetstreamManager(connection, { timeout }), connection)
  } finally {
    await connection.close()
  }
}
