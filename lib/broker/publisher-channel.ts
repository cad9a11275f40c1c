import type { HermesError } from '../base/errors.js'
import type { Durability } from '../model/topic.js'
import type { NativeIntake } from '../native/intake-types.js'
import { packetType, publishFlag, type Run } from '../wire/packet.js'
import { ackPacket, u64Packet } from '../wire/packet-writer.js'
import type { Holder } from './holder.js'
import type { Producer } from './producer.js'
import type { Quota } from './quotas.js'
import type { BrokerTopic } from './topic.js'
import type { TopicPublisher } from './topic-publishers.js'

/** How long a deferrable acknowledgement is kept. */
const ackDelayMs = 1
/** Batches of one channel that wait for a sync, and entries of one ACK. */
const mostUnsynced = 8192
const mostAcks = 2048

/** What a channel may do to its connection. */
export interface ChannelHost {
  /** Whose its publishers are. */
  readonly holder: Holder
  send(packet: Buffer): void
  /** A channel that was full takes more. */
  resume(): void
  /** Ends the channel with an ERROR. */
  failChannel(channel: number, error: HermesError): void
}

/** A remote publisher. */
export class PublisherChannel implements TopicPublisher {
  readonly kind = 'publisher'
  readonly topic: BrokerTopic
  readonly producer: Producer
  readonly durability: Durability
  readonly holder: Holder
  readonly #host: ChannelHost
  readonly #channel: number
  #quota: Quota | undefined
  #acks: Run[] = []
  /** The client waits for them. */
  #urgent = false
  /** The client does not wait for the newest of them. */
  #newestIsDeferrable = false
  #timer: NodeJS.Timeout | undefined
  #ended = false
  /** Of a `synced` channel: taken, and not on stable storage yet. */
  #unsynced: Run[] = []
  /** Up to where the topic is being synced for it. */
  #syncingUpto = -1
  /** A SYNC is being answered. */
  #syncing = false
  /** The highest number of those that came meanwhile. */
  #nextSync: bigint | undefined

  constructor(
    host: ChannelHost,
    channel: number,
    topic: BrokerTopic,
    producer: Producer,
    durability: Durability,
    quota?: Quota,
  ) {
    this.#host = host
    this.#channel = channel
    this.holder = host.holder
    this.topic = topic
    this.producer = producer
    this.durability = durability
    this.#quota = quota
  }

  /** Another connection has taken it over, or it was closed: nothing more is taken from it. */
  get hasEnded(): boolean {
    return this.#ended
  }

  /** Takes a PUBLISH. Call `acknowledge` once everything that has arrived was taken. */
  publish(bytes: Buffer, start: number, end: number): void {
    this.#quota?.check(end - start)
    const { stored } = this.producer
    const run = this.topic.ingest(this.producer, bytes, start, end)
    // (not what comes again)
    if (this.producer.stored > stored) this.#quota?.add(end - start)
    this.#note(run, bytes.readUInt32LE(start + 12))
  }

  /** Has an intake take its batches: those of a `synced` channel and those that are counted against a quota have more to them. */
  attachTo(intake: NativeIntake): boolean {
    if (this.durability !== 'written' || this.#quota !== undefined) return false
    this.topic.attachTo(intake, this.#channel, this.producer)
    return true
  }

  /** An intake has stored a batch. As `publish`, `acknowledge` is to be called. */
  took(run: Run, acked: bigint, flags: number, bytes: number): void {
    this.topic.took(this.producer, acked, run, bytes)
    this.#note(run, flags)
  }

  #note(run: Run, flags: number): void {
    const deferrable = (flags & publishFlag.deferrable) !== 0
    if (!deferrable) this.#urgent = true
    if (this.durability === 'written') {
      // It covers all that came before it: of the deferrable ones the newest is enough.
      if (deferrable && this.#newestIsDeferrable && this.#acks.length > 0) this.#acks.pop()
      this.#acks.push(run)
      this.#newestIsDeferrable = deferrable
    } else {
      this.#unsynced.push(run)
    }
  }

  /** What it may store is another amount now. */
  limitBy(quota: Quota | undefined): void {
    this.#quota = quota
  }

  /** So much waits for a sync that nothing more is taken before it has ended. */
  get isFull(): boolean {
    return this.#unsynced.length >= mostUnsynced
  }

  /** Has what was taken synced: one sync for all that has come until it begins, and one acknowledgement. */
  #syncAll(): void {
    if (this.#syncingUpto >= 0 || this.#unsynced.length === 0) return
    const runs = this.#unsynced
    let upto = 0
    for (const { sequence, count } of runs) {
      // (where it stands is not known any more: everything there is)
      if (sequence === 0) {
        upto = 0
        break
      }
      upto = Math.max(upto, sequence + count - 1)
    }
    const taken = runs.length
    this.#syncingUpto = upto
    this.topic.whenSynced(upto, (error) => {
      this.#syncingUpto = -1
      if (this.#ended) return
      if (error !== undefined) {
        this.fail(error)
        return
      }
      const wasFull = this.isFull
      const synced = this.#unsynced.splice(0, taken)
      for (let at = 0; at < synced.length; at += mostAcks)
        this.#host.send(ackPacket(this.#channel, synced.slice(at, at + mostAcks)))
      this.#syncAll()
      if (wasFull) this.#host.resume()
    })
  }

  /** Acknowledges what was taken: at once, or a little later if that is all the same to the client. */
  acknowledge(): void {
    this.#syncAll()
    if (this.#urgent) {
      this.flush()
    } else if (this.#timer === undefined && this.#acks.length > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.flush()
      }, ackDelayMs)
    }
  }

  flush(): void {
    this.#urgent = false
    if (this.#acks.length === 0 || this.#ended) return
    this.#host.send(ackPacket(this.#channel, this.#acks))
    this.#acks = []
  }

  /** Answers a SYNC. While one is under way, all that follow share the next: one answer with the highest number serves them. */
  sync(number: bigint): void {
    if (this.#syncing) {
      if (this.#nextSync === undefined || number > this.#nextSync) this.#nextSync = number
      return
    }
    this.#syncing = true
    this.topic.whenSynced(0, (error) => {
      this.#syncing = false
      if (this.#ended) return
      if (error !== undefined) {
        this.fail(error)
        return
      }
      this.#host.send(u64Packet(packetType.synced, this.#channel, number))
      const next = this.#nextSync
      this.#nextSync = undefined
      if (next !== undefined) this.sync(next)
    })
  }

  fail(error: HermesError): void {
    if (this.#ended) return
    this.#ended = true
    this.#host.failChannel(this.#channel, error)
  }

  /** @param forGood the client closed the channel in order */
  end(forGood: boolean): Promise<void> {
    this.#ended = true
    clearTimeout(this.#timer)
    return this.topic.leave(this, forGood)
  }
}
