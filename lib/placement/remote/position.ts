import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { unref } from '../../base/node.js'
import { defaultRules } from '../../model/group.js'
import type { TopicSettings } from '../../model/topic.js'
import { type Joined, parseJoined } from '../../wire/group-messages.js'
import { demandPacket } from '../../wire/group-packets.js'
import { parseJson } from '../../wire/messages.js'
import { packetType, protocolError } from '../../wire/packet.js'
import { readSequence } from '../../wire/packet-bodies.js'
import { jsonPacket, u64Packet } from '../../wire/packet-writer.js'
import { type PositionOptions, type PositionPort, positionEnds } from '../consumer-port.js'
import { Asks } from './asks.js'
import type { LinkUser } from './channels.js'
import { joiningSettings, Leaving, sendJoin } from './joining.js'
import { closedError, closePacket, type Link } from './link.js'
import { randomHex } from './random-hex.js'

const beatsPerLease = 4

interface Commit {
  readonly sequence: number
  readonly done: Deferred<void>
}

/** The position of a named subscription, behind a broker. */
export class RemotePosition implements PositionPort, LinkUser {
  readonly #link: Link
  readonly #topic: string
  readonly #settings: TopicSettings
  readonly #name: string
  readonly #options: PositionOptions
  readonly #token = randomHex(16)
  readonly #opened = new Deferred<void>()
  readonly #asks: Asks
  /** Sent, or to be sent over the next connection. */
  #commits: Commit[] = []
  #committed = 1
  #channel = 0
  #isJoined = false
  #hasJoined = false
  #beat: NodeJS.Timeout | undefined
  #failure: HermesError | undefined
  #closed = false
  onLost: (() => void) | undefined
  readonly #leaving = new Leaving()

  private constructor(link: Link, topic: string, settings: TopicSettings, name: string, options: PositionOptions) {
    this.#link = link
    this.#topic = topic
    this.#settings = settings
    this.#name = name
    this.#options = options
    this.#asks = new Asks(link.settings.requestTimeoutMs, (content) => {
      if (this.#isJoined) link.send(jsonPacket(packetType.ask, this.#channel, content))
    })
  }

  /** @throws HermesError `EXCLUSIVE_HELD`, and what the broker refuses with; `UNSUPPORTED`, `CONNECTION_FAILED`, `TIMED_OUT`, `ABORTED` */
  static async take(
    link: Link,
    topic: string,
    settings: TopicSettings,
    name: string,
    options: PositionOptions,
  ): Promise<RemotePosition> {
    const told = joiningSettings(settings, options.create)
    const position = new RemotePosition(link, topic, told, name, options)
    const isAsked = () => position.#channel !== 0
    await link.open(position, position.#opened, `the subscription '${name}' of '${topic}'`, isAsked, options.signal)
    return position
  }

  get idle(): boolean {
    return this.#commits.length === 0 && this.#asks.size === 0
  }

  get lost(): HermesError | undefined {
    const failure = this.#failure
    // (of a connection that is lost for good the subscriber itself tells, once it has handed out what had come)
    return failure !== undefined && positionEnds.has(failure.code) ? failure : undefined
  }

  get committed(): number {
    return this.#committed
  }

  connected(channel: number): void {
    try {
      this.#link.checkGroups()
    } catch (error) {
      this.failed(error as HermesError)
      return
    }
    this.#channel = channel
    this.#isJoined = false
    const { from, leaseMs, member } = this.#options
    sendJoin(this.#link, channel, {
      topic: this.#topic,
      settings: this.#settings,
      group: this.#name,
      kind: 'durable',
      from,
      rules: leaseMs === undefined ? {} : { leaseMs },
      window: undefined,
      upToSynced: undefined,
      deadLetter: undefined,
      member,
      token: this.#token,
      taken: 0,
      limit: 0,
      settled: 0,
    })
  }

  #joined({ resumed, committed = 1, rules }: Joined): void {
    const known = [this.#committed, ...this.#commits.map(({ sequence }) => sequence)]
    if (this.#hasJoined && !resumed && !known.includes(committed)) {
      // Another subscriber had it meanwhile, and has moved it.
      this.#link.send(closePacket(this.#channel))
      this.failed(this.#overtaken())
      return
    }
    this.#hasJoined = true
    this.#isJoined = true
    this.#committed = committed
    clearInterval(this.#beat)
    const beat = () => this.#link.send(demandPacket(this.#channel, { taken: 0, limit: 0, epoch: 0 }))
    this.#beat = setInterval(beat, (rules.leaseMs ?? defaultRules.leaseMs) / beatsPerLease)
    unref(this.#beat)
    for (const { sequence } of this.#commits) this.#sendCommit(sequence)
    if (!resumed) this.#asks.anew([], this.#overtaken())
    this.#asks.again()
    this.#opened.resolve()
  }

  #overtaken(): HermesError {
    return new HermesError(
      'LEASE_LOST',
      `This subscriber no longer has the durable subscription '${this.#name}' of topic '${this.#topic}': while it was not heard of, another one has taken it over, or it was reset. Open it again.`,
      { details: { topic: this.#topic, name: this.#name } },
    )
  }

  #gone(): void {
    this.#channel = 0
    this.#isJoined = false
    clearInterval(this.#beat)
    this.#leaving.confirm()
  }

  disconnected(): void {
    this.#gone()
  }

  failed(error: HermesError): void {
    const known = this.#hasJoined && error.code === 'EXCLUSIVE_HELD' ? this.#overtaken() : error
    this.#gone()
    this.#failure = known
    this.#opened.reject(known)
    for (const { done } of this.#commits.splice(0)) done.reject(known)
    this.#asks.fail(known)
    this.#link.remove(this)
    if (this.lost !== undefined) this.onLost?.()
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case packetType.joined:
        this.#joined(parseJoined(parseJson(bytes, start, end)))
        return
      case packetType.committed:
        this.#committedUpTo(readSequence(bytes, start))
        return
      case packetType.answer:
        this.#asks.answered(parseJson(bytes, start, end))
        return
      case packetType.closed:
        this.#leaving.confirm()
        return
      default:
        throw protocolError(`A packet of type ${type} came for a durable subscription.`)
    }
  }

  /** Answers come in the order of the commits. */
  #committedUpTo(sequence: number): void {
    if (!this.#commits.some((one) => one.sequence === sequence))
      throw protocolError('The broker has committed what it was not asked to.')
    this.#committed = sequence
    while (this.#commits.length > 0) {
      const { sequence: own, done } = this.#commits.shift() as Commit
      done.resolve()
      if (own === sequence) return
    }
  }

  commit(sequence: number): Promise<void> {
    const done = new Deferred<void>()
    // (automatic commits are not awaited: the next one tells)
    done.promise.catch(() => {})
    if (this.#failure !== undefined) {
      done.reject(this.#failure)
      return done.promise
    }
    this.#commits.push({ sequence, done })
    if (this.#isJoined) this.#sendCommit(sequence)
    return done.promise
  }

  #sendCommit(sequence: number): void {
    this.#link.send(u64Packet(packetType.commit, this.#channel, BigInt(sequence)))
  }

  async sync(signal: AbortSignal | undefined): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await this.#asks.ask('sync', {}, signal)
  }

  noteLost(messages: number): void {
    if (this.#failure === undefined) this.#asks.ask('lost', { count: messages }).catch(() => {})
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    if (this.#isJoined && this.#failure === undefined) {
      await this.#leaving.leave(this.#link, this.#channel)
    }
    this.#gone()
    const error = closedError(this.#link.settings.url)
    this.#failure ??= error
    for (const { done } of this.#commits.splice(0)) done.reject(error)
    this.#asks.fail(error)
    this.#link.abandon(this)
  }
}
