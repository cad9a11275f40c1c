import type { HermesError } from '../base/errors.js'
import type { BrokerHealth, TopicInfo, TopicSettings } from '../model/topic.js'
import type { AdminPort } from '../placement/admin-port.js'
import type { LocalPlacement } from '../placement/local/placement.js'
import type { LogCursor } from '../store/log-cursor.js'
import type { Rights } from './access.js'
import type { Delivery } from './engine/engine.js'
import type { Memberships } from './memberships.js'
import type { Openings } from './openings.js'
import type { BrokerSettings } from './options.js'
import type { Quota } from './quotas.js'
import type { BrokerTopic } from './topic.js'

/** What a session needs of its broker. */
export interface SessionHost {
  readonly settings: BrokerSettings
  readonly instance: string
  readonly draining: boolean
  readonly maxPacketBytes: number
  /** Stays open until it is released. */
  topic(name: string, settings: TopicSettings): Promise<BrokerTopic>
  /** A publisher or subscriber was opened in the topic, or could not be. */
  opening(topic: string, error: HermesError | undefined): void
  readonly memberships: Memberships
  readonly openings: Openings
  /** Where members join, in the broker's own directory. */
  readonly groups: Pick<LocalPlacement, 'consumer' | 'position'>
  /** @throws HermesError `LIMIT` if there is no such group, and the topic has as many as it may */
  mayMakeGroup(topic: string, group: string): Promise<void>
  health(): Promise<BrokerHealth>
  topics(): Promise<readonly string[]>
  readonly administration: AdminPort
  info(name: string): Promise<TopicInfo>
  /** @throws HermesError if the directory is not served any more */
  check(): Promise<void>
  /** The error as a client may see it: without the server's paths. */
  shown(error: HermesError): HermesError
  /** What a publisher of the client's may store; `undefined` = without a limit. */
  quota(topic: BrokerTopic, rights: Rights): Quota | undefined
  report(event: string, facts: Readonly<Record<string, unknown>>): void
}

/** What carries a session's packets. */
export interface SessionPort {
  readonly address: string
  /** Whose the client is: parties get equal shares of what the broker does. */
  readonly party: string
  /** When something was last heard of the client, of `performance.now()`: now, while what it has sent waits. */
  readonly heardAt: number
  /** The client's system has ended the connection: the process is gone, or connects anew. False while it lasts, and when nothing was heard for too long. */
  readonly wasLetGo: boolean
  /** The common name in the client's certificate, if it was checked. */
  readonly certificateName: string | undefined
  /** False while enough is waiting to be written. */
  readonly hasRoom: boolean
  write(packet: Buffer): void
  /** Writes the head and, straight from where they lie, the frames; calls back once they need no longer stay there. */
  writeFrames(head: Buffer, frames: Uint8Array, written: () => void): void
  /** Whether the addon carries the bytes: then it may take batches, and `deliver` may send runs. */
  readonly isNative: boolean
  /** Sends what comes next as one DELIVER, by the addon. Returns how many bytes it has; 0 if nothing was sent. */
  deliver(cursor: LogCursor, delivery: Delivery): number
  /** Counts what is set aside for unfinished packets. @throws HermesError `LIMIT` */
  setAside(bytes: number): void
  /** Counts one subscriber more. @throws HermesError `LIMIT` */
  subscribed(): void
  /** And one fewer. */
  unsubscribed(): void
  /** The client has said who it is. @throws HermesError `LIMIT` */
  identified(rights: Rights): void
  /** What the client may do has changed. */
  reviewed(rights: Rights): void
  /** Asks for a call of `work`: now, if there is time for it. Returns whether it was called. */
  offer(): boolean
  /** Asks for a call of `work` once others have had their turn. */
  later(): void
  /** Ends the connection after what has been written. */
  end(): void
}
