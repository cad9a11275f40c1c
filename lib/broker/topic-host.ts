import type { HermesError } from '../base/errors.js'
import type { Directory } from '../store/directory.js'
import type { ProducersOptions } from './producers.js'
import type { BrokerTopic } from './topic.js'

/** Whose a publisher is. */
export interface Holder {
  /** The name of the client's access entry. */
  readonly identity: string
  readonly address: string
}

/** What a topic needs of its broker. */
export interface TopicHost {
  readonly directory: Directory
  readonly maxBatchBytes: number
  /** The broker's own loop looks for local publishers' messages. */
  readonly spins: boolean
  readonly producers: ProducersOptions
  report(topic: string, error: unknown): void
  /** The topic can't be used any more, and was not closed in order. It is to be closed, and opened anew for whoever comes. */
  retired(topic: BrokerTopic, error: HermesError): void
  /** Whether those who used a topic that failed are to try again by themselves. */
  mayRetry(topic: string): boolean
  /** A sync has succeeded. */
  synced(topic: string): void
}
