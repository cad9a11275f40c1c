import { HermesError } from '../base/errors.js'
import { packetType, protocolError, publishHeadBytes } from '../wire/packet.js'
import type { PacketReader } from '../wire/packet-reader.js'
import type { ChannelTable } from './channel-table.js'
import { type BatchTaken, Intake } from './engine/intake.js'
import type { Pace } from './pace.js'
import type { PublisherChannel } from './publisher-channel.js'
import type { BrokerTopic } from './topic.js'

/** The batches that one client publishes, and what follows from those that came together. */
export class SessionBatches {
  /** Those that have something to acknowledge. */
  readonly touched = new Set<{ acknowledge(): void }>()
  readonly #channels: ChannelTable
  readonly #reader: PacketReader
  readonly #pace: Pace
  /** Takes batches by the addon, if that carries the bytes. */
  readonly #intake: Intake | undefined
  readonly #news = new Set<BrokerTopic>()
  /** A channel of whose batches too many wait for a sync: nothing is taken meanwhile. */
  #full: PublisherChannel | undefined
  readonly #took: BatchTaken = (channel, run, acked, flags, bytes) => {
    const found = this.#channels.find(channel) as PublisherChannel
    found.took(run, acked, flags, bytes)
    this.#note(found)
  }

  /** @param isNative whether the addon carries the bytes */
  constructor(channels: ChannelTable, reader: PacketReader, pace: Pace, isNative: boolean) {
    this.#channels = channels
    this.#reader = reader
    this.#pace = pace
    this.#intake = isNative ? Intake.make() : undefined
    if (this.#intake !== undefined) reader.intake = (chunk, at) => this.#take(chunk, at)
  }

  /** Whether what has arrived may be taken. */
  get takes(): boolean {
    return this.#full === undefined || this.#full.hasEnded
  }

  resume(): void {
    this.#full = undefined
  }

  /** The publisher may publish from now on. */
  opened(channel: number, publisher: PublisherChannel): void {
    this.#intake?.attach(channel, (intake) => publisher.attachTo(intake))
  }

  /** The channel has ended, or its batches need more than an intake does. To be called before its topic lets go of it. */
  forget(channel: number): void {
    this.#intake?.detach(channel)
  }

  /** All have. */
  end(): void {
    this.#intake?.detachAll()
  }

  #take(chunk: Buffer, at: number): number {
    const taken = this.#intake?.take(chunk, at, this.#took) ?? 0
    if (taken > 0 && this.#pace.isOver(packetType.publish, taken)) this.#reader.pause()
    return taken
  }

  #note(channel: PublisherChannel): void {
    this.touched.add(channel)
    this.#news.add(channel.topic)
  }

  /** Takes a PUBLISH: its body is `bytes[start, end)`. @throws HermesError `PROTOCOL` */
  publish(channel: number, bytes: Buffer, start: number, end: number): void {
    const found = this.#channels.find(channel)
    if (found === undefined) return
    if (found.kind !== 'publisher' || end - start <= publishHeadBytes)
      throw protocolError('PUBLISH needs a publisher and frames.')
    try {
      found.publish(bytes, start, end)
      this.#intake?.noteStored(channel, found.producer.stored)
      if (found.isFull) {
        this.#full = found
        this.#reader.pause()
      }
      this.#note(found)
    } catch (error) {
      if (!(error instanceof HermesError)) throw error
      // Who breaks the protocol on one channel can't be trusted on the others.
      if (error.code === 'PROTOCOL') throw error
      found.flush()
      found.fail(error)
    }
  }

  /**
   * Deliveries and acknowledgements go out once for all that a chunk has brought. Deliveries first: subscribers wait for them, and a
   * client that publishes and subscribes over one connection has received its own message by the time it's told that it is stored.
   */
  settle(): void {
    if (this.#news.size > 0) {
      for (const topic of this.#news) topic.pump()
      this.#news.clear()
    }
    if (this.touched.size > 0) {
      for (const channel of this.touched) channel.acknowledge()
      this.touched.clear()
    }
  }
}
