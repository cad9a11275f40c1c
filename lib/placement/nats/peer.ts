import type * as JetStream from '@nats-io/jetstream'
import type * as Transport from '@nats-io/transport-node'
import { HermesError } from '../../base/errors.js'

/*
 * The client of NATS is an optional peer: users without a cluster do not install it. It is loaded when a `nats:` place is opened, and its types
 * go no further than this room.
 */

export type NatsConnection = Transport.NatsConnection
export type MsgHdrs = Transport.MsgHdrs
export type Msg = Transport.Msg
export type Subscription = Transport.Subscription
export type JetStreamClient = JetStream.JetStreamClient
export type JetStreamManager = JetStream.JetStreamManager
export type StreamInfo = JetStream.StreamInfo
export type StoredMsg = JetStream.StoredMsg

export interface Peer {
  readonly transport: typeof Transport
  readonly jetstream: typeof JetStream
}

let loaded: Promise<Peer> | undefined

/** @throws HermesError `UNSUPPORTED` if the client is not installed */
export function loadPeer(): Promise<Peer> {
  loaded ??= load().catch((error: unknown) => {
    loaded = undefined
    throw error
  })
  return loaded
}

async function load(): Promise<Peer> {
  try {
    const [transport, jetstream] = await Promise.all([
      atRunTime<typeof Transport>('@nats-io/transport-node'),
      atRunTime<typeof JetStream>('@nats-io/jetstream'),
    ])
    return { transport, jetstream }
  } catch (cause) {
    throw new HermesError(
      'UNSUPPORTED',
      "A 'nats:' place needs the client of NATS, which is not installed here: npm install @nats-io/transport-node @nats-io/jetstream",
      { cause },
    )
  }
}

/** A bundler resolves every literal name, and fails where the peer is not installed: a name that it cannot know is left for Node to find. */
function atRunTime<Module>(name: string): Promise<Module> {
  return import(/* webpackIgnore: true */ /* @vite-ignore */ name) as Promise<Module>
}
