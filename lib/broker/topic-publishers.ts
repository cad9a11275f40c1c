import { HermesError } from '../base/errors.js'
import { frameBytes, frameHeaderBytes, frameOffset } from '../frame/frame.js'
import type { Durability } from '../model/topic.js'
import { fromNative } from '../native/error.js'
import type { NativeIntake } from '../native/intake-types.js'
import type { TopicLog } from '../store/topic-log.js'
import { packetHeaderBytes, protocolError, publishHeadBytes, type Run } from '../wire/packet.js'
import type { Holder } from './holder.js'
import type { Producer } from './producer.js'
import { Producers, type ProducersOptions } from './producers.js'
import { TopicAppender } from './topic-appender.js'

/** After so many bytes from the network the producers' file is brought up to date, which bounds the walk after a crash. */
const saveEveryBytes = 64 * 1024 * 1024
/** Of those who hold a topic so many are named. */
const mostShown = 4
/** Numbers of messages, which are times, may be so far ahead of the broker's clock. */
const mostAheadMs = 86_400_000

/** What a remote publisher is to the topic. */
export interface TopicPublisher {
  readonly holder: Holder
  readonly producer: Producer
  readonly durability: Durability
  /** Another connection has opened the publisher anew, or the topic can't take its messages any more. */
  fail(error: HermesError): void
}

/** What the publishers need of their topic. */
export interface PublishersTopic {
  readonly name: string
  readonly maxBatchBytes: number
  /** @throws HermesError if the topic can't be used any more */
  checkOpen(): void
  report(error: unknown): void
  /** Messages were appended; `next` is the sequence behind them. */
  appended(next: number): void
  /** A publisher has left. */
  left(): void
  /** The log takes nothing more, from any publisher. Returns the error for publishers. */
  broken(error: HermesError): HermesError
}

/** The remote publishers of a topic: they share one appender, and the topic remembers what each of them has stored. */
export class TopicPublishers {
  readonly #topic: PublishersTopic
  readonly #folder: string
  readonly #log: TopicLog
  readonly #options: ProducersOptions
  readonly #appender: TopicAppender
  readonly #all = new Set<TopicPublisher>()
  #producers: Producers | undefined
  /** Publishers come and go one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #bytesSinceSave = 0

  constructor(topic: PublishersTopic, folder: string, log: TopicLog, options: ProducersOptions) {
    this.#topic = topic
    this.#folder = folder
    this.#log = log
    this.#options = options
    this.#appender = new TopicAppender(log)
  }

  get size(): number {
    return this.#all.size
  }

  /** The topic can't take their messages any more. */
  fail(error: HermesError): void {
    for (const publisher of [...this.#all]) publisher.fail(error)
  }

  /**
   * Lets a remote publisher in. A publisher of the same id that is still there is ended: its connection is dead or will be.
   *
   * @param identity the name of its access entry; `undefined` where authentication is not configured
   * @param shown what it may know of those who hold the topic, if it can't be let in
   * @throws HermesError `EXCLUSIVE_HELD`, `TOO_MANY_PUBLISHERS`, `CORRUPT`, `LIMIT`, …
   */
  async enter<One extends TopicPublisher>(
    id: string,
    exclusive: boolean,
    identity: string | undefined,
    shown: (holder: Holder) => string,
    make: (producer: Producer) => One,
  ): Promise<One> {
    const publisher = await this.#inTurn(async () => {
      this.#topic.checkOpen()
      for (const other of this.#all) {
        if (other.producer.id !== id) continue
        this.#all.delete(other)
        other.fail(new HermesError('FENCED', 'This publisher was opened anew by another connection.'))
      }
      if (this.#all.size > 0 && (exclusive || this.#appender.isExclusive)) {
        throw this.#held(shown)
      }
      try {
        if (this.#all.size === 0 && this.#appender.isExclusive !== exclusive) await this.#closeAppender()
        if (!this.#appender.isOpen) await this.#appender.open(exclusive)
        this.#producers ??= await Producers.load(this.#folder, this.#log, this.#options)
        // (the topic may have been retired meanwhile)
        this.#topic.checkOpen()
        const made = make(this.#producers.enter(id, this.#log.nextSequence(), identity))
        this.#all.add(made)
        return made
      } catch (error) {
        // Else nothing would close the topic.
        if (this.#all.size === 0) await this.#closeAppender()
        throw error
      }
    })
    try {
      // Behind the turn, so that many who come at once share one write.
      await this.#producers?.saved(publisher.producer)
    } catch (error) {
      await this.leave(publisher, false)
      throw error
    }
    return publisher
  }

  #held(shown: (holder: Holder) => string): HermesError {
    const all = [...this.#all].map((publisher) => shown(publisher.holder))
    const holders = [...new Set(all)].slice(0, mostShown)
    const what = this.#appender.isExclusive
      ? 'an exclusive publisher'
      : all.length === 1
        ? 'a publisher'
        : `${all.length} publishers`
    const others = new Set(all).size > holders.length ? ', …' : ''
    return new HermesError(
      'EXCLUSIVE_HELD',
      `Topic '${this.#topic.name}' has ${what} through this broker: ${holders.join(', ')}${others}. Close what is there first.`,
      { details: { topic: this.#topic.name, holders } },
    )
  }

  /** @param forGood it closed in order: whatever it sent has been answered, and it will not come back */
  leave(publisher: TopicPublisher, forGood: boolean): Promise<void> {
    return this.#inTurn(async () => {
      if (this.#all.delete(publisher)) {
        if (forGood) this.#producers?.forget(publisher.producer)
        else this.#producers?.leave(publisher.producer)
      }
      this.#topic.left()
      // A local publisher may want the topic for itself.
      if (this.#all.size === 0) await this.#closeAppender()
    })
  }

  /**
   * Stores a batch, or finds that it is stored already: `bytes[start, end)` is the body of a PUBLISH. One native call.
   *
   * @returns where its messages stand
   * @throws HermesError `PROTOCOL`, `PAYLOAD_TOO_LARGE`, `DISK_FULL`, …
   */
  ingest(producer: Producer, bytes: Buffer, start: number, end: number): Run {
    const frames = start + publishHeadBytes
    const count = bytes.readUInt32LE(start + 8)
    if (end - frames < 32 || end - frames > this.#topic.maxBatchBytes || count === 0)
      throw protocolError('A batch has no frames, or too many bytes.')
    producer.trim(bytes.readBigUInt64LE(start))
    const first = bytes.readBigUInt64LE(frames + 16)
    const last = first + BigInt(count) - 1n
    if (first <= producer.stored) {
      if (last > producer.stored || countFrames(bytes, frames, end) !== count)
        throw protocolError('A batch was sent again, but not as it was.')
      return producer.find(first, count)
    }
    const run = { first, count, sequence: this.#append(bytes, frames, end, count, producer.slot) }
    this.#stored(producer, run, end - start)
    return run
  }

  #stored(producer: Producer, run: Run, bytes: number): void {
    producer.add(run)
    if (this.#producers !== undefined) this.#producers.isDirty = true
    this.#topic.appended(run.sequence + run.count)
    this.#bytesSinceSave += bytes + packetHeaderBytes
    if (this.#bytesSinceSave > saveEveryBytes) this.#saveProducers()
  }

  /** Has `intake` store the producer's batches that come on this channel, as `ingest` does. It tells of each by `took`. */
  attachTo(intake: NativeIntake, channel: number, producer: Producer): void {
    this.#appender.attachTo(intake, channel, producer.slot, this.#topic.maxBatchBytes, producer.stored)
  }

  /**
   * A batch was stored by an intake.
   *
   * @param acked the highest number whose acknowledgement the client has seen
   * @param bytes of the PUBLISH's body
   */
  took(producer: Producer, acked: bigint, run: Run, bytes: number): void {
    producer.trim(acked)
    this.#stored(producer, run, bytes)
  }

  #append(bytes: Buffer, start: number, end: number, count: number, slot: number): number {
    try {
      return this.#appender.append(bytes, start, end, count, slot)
    } catch (error) {
      // The first number is the publisher's time.
      const aheadMs = Number(bytes.readBigUInt64LE(start + frameOffset.timestampNs) / 1_000_000n) - Date.now()
      if (error instanceof HermesError && error.code === 'PROTOCOL' && aheadMs > mostAheadMs)
        throw clockAhead(this.#topic.name, aheadMs)
      if (!(error instanceof HermesError) || error.code !== 'IO_FAILED') throw error
      throw this.#topic.broken(error)
    }
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }

  async #closeAppender(): Promise<void> {
    try {
      await this.#appender.close()
    } catch (error) {
      this.#topic.report(error)
    }
  }

  #saveProducers(): void {
    this.#bytesSinceSave = 0
    this.#producers?.save().catch((error) => this.#topic.report(error))
  }

  /** Resolves with the sequence before which everything is on stable storage: above `upto`. */
  sync(upto: number): Promise<number> {
    return this.#appender.sync(upto)
  }

  /** Once per second. @param isSame as of `close` */
  tick(isSame: () => boolean): void {
    if (this.#producers?.isDirty !== true) return
    // Without retention the log itself tells everything.
    const { retentionBytes, retentionAgeMs } = this.#log.control()
    if ((retentionBytes > 0 || retentionAgeMs > 0) && isSame()) this.#saveProducers()
  }

  /**
   * @param isSame whether the folder is still the topic's: in another one's, this one's producers have no business
   * @param tidy   as of the topic
   */
  async close(isSame: () => boolean, tidy: boolean): Promise<void> {
    for (const publisher of this.#all) this.#producers?.leave(publisher.producer)
    await this.#inTurn(async () => {
      this.#all.clear()
      try {
        if (isSame()) {
          if (tidy) await this.#makeSafe()
          await this.#producers?.save()
        }
      } finally {
        await this.#closeAppender()
      }
    })
  }

  /** So that what the producers have stored need not be looked for in the log. */
  async #makeSafe(): Promise<void> {
    const producers = this.#producers
    const next = this.#log.nextSequence()
    if (producers === undefined || producers.since >= next) return
    try {
      if (!this.#appender.isOpen) await this.#appender.open(false)
      await this.#appender.sync(next - 1)
      producers.allSafeBefore(next)
    } catch (error) {
      // A local publisher has the topic to itself, say. Then the log is walked when it is opened again.
      if (!(fromNative(error) instanceof HermesError)) throw error
    }
  }
}

function clockAhead(topic: string, aheadMs: number): HermesError {
  const hours = (aheadMs / 3_600_000).toFixed(1)
  return new HermesError(
    'INVALID_ARGUMENT',
    `The publisher's clock is ${hours} h ahead of the broker's; 24 h are allowed. Set the clocks of both, then open the publisher again.`,
    { details: { topic, aheadMs, mostMs: mostAheadMs } },
  )
}

/** How many frames lie back to back in `bytes[start, end)`; -1 if they do not end where they should. Only for batches that come again. */
function countFrames(bytes: Buffer, start: number, end: number): number {
  let count = 0
  let at = start
  while (at + frameHeaderBytes <= end) {
    at += frameBytes(bytes.readUInt32LE(at + frameOffset.payloadLength))
    count++
  }
  return at === end ? count : -1
}
