import type { HermesError } from '../base/errors.js'
import type { Durability } from '../model/topic.js'
import { packetType, publishFlag, type Run } from '../wire/packet.js'
import { ackPacket, u64Packet } from '../wire/packet-writer.js'
import type { Producer } from './producers.js'
import type { Quota } from './quotas.js'
import type { BrokerTopic, Inlet } from './topic.js'

/** How long an acknowledgement is kept for which nobody waits. */
const patienceMs = 1

/** What a channel may do to its connection. */
export interface ChannelHost {
  send(packet: Buffer): void
  /** Ends the channel with an ERROR. */
  failChannel(channel: number, error: HermesError): void
}

/** A remote publisher. */
export class PublisherChannel implements Inlet {
  readonly kind = 'publisher'
  readonly topic: BrokerTopic
  readonly producer: Producer
  readonly durability: Durability
  readonly #host: ChannelHost
  readonly #channel: number
  readonly #quota: Quota | undefined
  #acks: Run[] = []
  /** Somebody waits for them. */
  #urgent = false
  /** Nobody waits for the newest of them. */
  #newestIsPatient = false
  #timer: NodeJS.Timeout | undefined
  #ended = false
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
    this.topic = topic
    this.producer = producer
    this.durability = durability
    this.#quota = quota
  }

  /** It was told so: its place is taken, or it was closed. Nothing more is taken from it. */
  get hasEnded(): boolean {
    return this.#ended
  }

  /** Takes a PUBLISH. Call `settle` once everything that has arrived was taken. */
  publish(bytes: Buffer, start: number, end: number): void {
    this.#quota?.check(end - start)
    const { stored } = this.producer
    const run = this.topic.ingest(this.producer, bytes, start, end)
    // (not what comes again)
    if (this.producer.stored > stored) this.#quota?.add(end - start)
    const patient = (bytes.readUInt32LE(start + 12) & publishFlag.patient) !== 0
    if (!patient) this.#urgent = true
    if (this.durability === 'written') {
      // It tells of all that came before it: of those for which nobody waits the newest is enough.
      if (patient && this.#newestIsPatient && this.#acks.length > 0) this.#acks.pop()
      this.#acks.push(run)
      this.#newestIsPatient = patient
    } else {
      this.topic.whenSynced(run.sequence === 0 ? 0 : run.sequence + run.count - 1, (error) => {
        if (error === undefined) this.acknowledge(run)
        else this.fail(error)
      })
    }
  }

  acknowledge(run: Run): void {
    if (!this.#ended) this.#host.send(ackPacket(this.#channel, [run]))
  }

  /** Acknowledges what was taken: at once, or a little later if that is all the same to the client. */
  settle(): void {
    if (this.#urgent) {
      this.flush()
    } else if (this.#timer === undefined && this.#acks.length > 0) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined
        this.flush()
      }, patienceMs)
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
