import { openPlace } from '../placement/registry.js'
import { Hermes } from './hermes.js'
import { checkedPlace } from './place.js'
import { type OpenOptions, schemes } from './schemes.js'

export type { OpenOptions } from './schemes.js'

/**
 * Opens a place with topics.
 *
 * @param place `./data` (or any path, or a file: URL): a directory on this host, durable; other processes may open it too.
 *   `shm:market`: the same, volatile, in shared memory.
 *   `ring:market`: rings in shared memory. Each topic goes from one publisher to one subscriber, volatile; a full one refuses.
 *   `tcp://host:port`, `tls://host:port`: a broker (`hermes serve`). Resolves once connected; a connection that is lost later is made again.
 *   `ws://host:port`, `wss://host:port`: the same by a WebSocket, through the broker's door for browsers (`hermes serve --ws`).
 *   `nats://host,host,host`: a cluster of nats-servers with JetStream, which keeps each topic on several machines. Needs the packages
 *   `@nats-io/transport-node` and `@nats-io/jetstream`.
 * @throws HermesError `INVALID_ARGUMENT`, `INVALID_NAME`, `NOT_FOUND`, `NOT_A_DIRECTORY`, `NOT_HERMES`, `VERSION_MISMATCH`, `ACCESS_DENIED`, `UNSUPPORTED`,
 *   `NATIVE_UNAVAILABLE` (all but brokers), `CONNECTION_FAILED`, `UNAUTHORIZED`, `PROTOCOL`
 */
export async function open(place: string | URL, options: OpenOptions = {}): Promise<Hermes> {
  const { name, placement } = await openPlace(schemes, checkedPlace(schemes, place), options)
  return new Hermes(name, placement)
}
