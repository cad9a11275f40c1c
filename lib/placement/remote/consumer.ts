import { Deferred } from '../../base/deferred.js'
import type { HermesError } from '../../base/errors.js'
import { unref } from '../../base/node.js'
import type { Region } from '../../codec/codec.js'
import { defaultRules, type GroupReport, type GroupRules } from '../../model/group.js'
import type { TopicSettings } from '../../model/topic.js'
import { type Joined, parseJoined, parseReport } from '../../wire/group-messages.js'
import { demandPacket, keysPacket, readMessagesHead, readSettled, type WireOutcome } from '../../wire/group-packets.js'
import { checkCarried, parseJson } from '../../wire/messages.js'
import { messagesHeadBytes, packetType, protocolError } from '../../wire/packet.js'
import { jsonPacket } from '../../wire/packet-writer.js'
import type { Claim, ConsumerOptions, ConsumerPort } from '../consumer-port.js'
import { Parking } from '../parking.js'
import { Arrived } from './arrived.js'
import { Asks } from './asks.js'
import type { LinkUser } from './channels.js'
import { Inbox } from './inbox.js'
import { joiningSettings, Leaving, rejected, sendJoin, uncertain } from './joining.js'
import { keyBucket } from './key-bucket.js'
import { closedError, type Link } from './link.js'
import { randomHex } from './random-hex.js'
import { membershipStep, Settlements } from './settlements.js'

const beatsPerLease = 4

/** A member of a group behind a broker, which claims for it ahead of its asking, by what it has demanded. What was handed out is its own until it settles it, also over a lost connection, if it's back before its grace is over. */
export class RemoteConsumer implements ConsumerPort, LinkUser {
  rules: GroupRules = defaultRules
  readonly arrivesByTurn = true
  readonly #link: Link
  readonly #topic: string
  readonly #settings: TopicSettings
  readonly #group: string
  readonly #options: ConsumerOptions
  readonly #opened = new Deferred<void>()
  readonly #parking = new Parking()
  readonly #settlements = new Settlements(() => queueMicrotask(() => this.#flush()))
  readonly #asks: Asks
  #channel = 0
  #isJoined = false
  #token = randomHex(16)
  /** Which membership it is, from 0 on. */
  #membership = 0
  #hasJoined = false
  #graceMs = 0
  #graceTimer: NodeJS.Timeout | undefined
  #beat: NodeJS.Timeout | undefined

  readonly #inbox = new Inbox()
  #unkeyed: Arrived | undefined
  readonly #errors: unknown[] = []
  /** Handed out and not settled. */
  #held = 0
  #failure: HermesError | undefined
  #closed = false
  readonly #leaving = new Leaving()

  private constructor(link: Link, topic: string, settings: TopicSettings, group: string, options: ConsumerOptions) {
    this.#link = link
    this.#topic = topic
    this.#settings = settings
    this.#group = group
    this.#options = options
    this.#asks = new Asks(link.settings.requestTimeoutMs, (content) => {
      if (this.#isJoined) link.send(jsonPacket(packetType.ask, this.#channel, content))
    })
  }

  /** @throws HermesError what the broker refuses with; `UNSUPPORTED`, `CONNECTION_FAILED`, `TIMED_OUT`, `ABORTED` */
  static async join(
    link: Link,
    topic: string,
    settings: TopicSettings,
    group: string,
    options: ConsumerOptions,
  ): Promise<RemoteConsumer> {
    const told = joiningSettings(settings, options.create)
    const consumer = new RemoteConsumer(link, topic, told, group, options)
    const isAsked = () => consumer.#channel !== 0
    await link.open(consumer, consumer.#opened, `a member of group '${group}' of '${topic}'`, isAsked, options.signal)
    return consumer
  }

  get idle(): boolean {
    return this.#settlements.isEmpty && this.#asks.size === 0
  }

  get region(): Region {
    return this.#inbox.region
  }

  get ahead(): number {
    return this.#inbox.left
  }

  /* ---- the connection ---- */

  connected(channel: number): void {
    try {
      this.#link.checkGroups()
    } catch (error) {
      this.failed(error as HermesError)
      return
    }
    this.#channel = channel
    this.#isJoined = false
    this.#unkeyed = undefined
    this.#inbox.begin()
    const { kind, from, rules, window, upToSynced, deadLetter, member } = this.#options
    const { taken, limit } = this.#inbox.demand
    sendJoin(this.#link, channel, {
      topic: this.#topic,
      settings: this.#settings,
      group: this.#group,
      kind,
      from,
      rules,
      window,
      upToSynced,
      deadLetter,
      member,
      token: this.#token,
      taken,
      limit,
      settled: this.#settlements.answered,
    })
  }

  #joined(joined: Joined): void {
    checkCarried(joined.maxPayloadBytes, this.#link.maxPacketBytes)
    clearTimeout(this.#graceTimer)
    this.#graceTimer = undefined
    this.rules = joined.rules
    this.#graceMs = Math.min(joined.graceMs, joined.rules.leaseMs)
    this.#isJoined = true
    if (joined.resumed) {
      this.#settlements.again(joined.settled, joined.lost)
      this.#asks.again()
    } else {
      if (this.#hasJoined) this.#membershipOver(uncertain(this.#topic, this.#group))
      this.#inbox.restart()
      this.#asks.again()
    }
    this.#hasJoined = true
    this.#flush()
    clearInterval(this.#beat)
    this.#beat = setInterval(() => this.renew(), this.rules.leaseMs / beatsPerLease)
    unref(this.#beat)
    this.#opened.resolve()
    this.#parking.rouse()
  }

  disconnected(reason?: HermesError): void {
    this.#gone()
    if (!this.#hasJoined) return
    if (reason?.code === 'LEASE_LOST') {
      // The broker has given up what this member held, and ignores what it had not carried out by then.
      this.#membershipOver(undefined)
      this.#hasJoined = false
      return
    }
    if (this.#graceTimer !== undefined) return
    this.#graceTimer = setTimeout(() => this.#graceOver(), this.#graceMs)
    unref(this.#graceTimer)
  }

  #gone(): void {
    this.#channel = 0
    this.#isJoined = false
    clearInterval(this.#beat)
    this.#leaving.confirm()
  }

  /** There was no connection for so long that others have by now what this member held. */
  #graceOver(): void {
    this.#membershipOver(uncertain(this.#topic, this.#group))
    this.#hasJoined = false
    this.#token = randomHex(16)
  }

  /** @param unanswered of what was sent and not answered; `undefined`: it was not carried out */
  #membershipOver(unanswered: HermesError | undefined): void {
    clearTimeout(this.#graceTimer)
    this.#graceTimer = undefined
    this.#membership++
    this.#settlements.over(unanswered)
    this.#asks.anew(['reject', 'skip'], uncertain(this.#topic, this.#group))
    this.#held = 0
    this.#unkeyed = undefined
    this.#inbox.restart()
  }

  failed(error: HermesError): void {
    this.#gone()
    this.#failure = error
    clearTimeout(this.#graceTimer)
    this.#opened.reject(error)
    this.#settlements.fail(error)
    this.#asks.fail(error)
    this.#link.remove(this)
    this.#parking.close()
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case packetType.messages:
        if (!this.#closed) this.#inbox.add(readMessagesHead(bytes, start), bytes, start + messagesHeadBytes, end)
        this.#parking.rouse()
        return
      case packetType.settled: {
        const { number, late } = readSettled(bytes, start, end)
        this.#settlements.settled(number, late)
        return
      }
      case packetType.joined:
        this.#joined(parseJoined(parseJson(bytes, start, end)))
        return
      case packetType.answer:
        this.#told(this.#asks.answered(parseJson(bytes, start, end)))
        return
      case packetType.unkeyed:
        this.#unkeyed = new Arrived(readMessagesHead(bytes, start), bytes, start + messagesHeadBytes, end)
        this.#parking.rouse()
        return
      case packetType.closed:
        this.#leaving.confirm()
        return
      default:
        throw protocolError(`A packet of type ${type} came for a member of a group.`)
    }
  }

  #told(error: HermesError | undefined): void {
    if (error === undefined || this.#errors.length > 0) return
    this.#errors.push(error)
    this.#parking.rouse()
  }

  /* ---- claiming ---- */

  claim(limit: number): number {
    if (this.#errors.length > 0) throw this.#errors.shift()
    if (this.#failure !== undefined) throw this.#failure
    if (this.#unkeyed !== undefined) this.#sendKeys(this.#options, this.#unkeyed)
    const count = this.#inbox.take(limit)
    this.#held += count
    this.#demandFor(limit)
    return count
  }

  /** Asks for more once half of what may be under way was handed out. */
  #demandFor(limit: number): void {
    const window = Math.min(2 * limit, this.#options.maxInFlight - this.#held)
    if (window > 0 && this.#inbox.open <= window / 2) {
      this.#inbox.ask(window)
      this.renew()
    }
  }

  #sendKeys({ hashOf }: ConsumerOptions, unkeyed: Arrived): void {
    if (hashOf === undefined) throw protocolError('The broker asks for keys that it should find itself.')
    this.#unkeyed = undefined
    this.#link.send(keysPacket(this.#channel, unkeyed.map(hashOf)))
  }

  sequenceOf(index: number): number {
    return this.#inbox.sequenceOf(index)
  }

  deliveriesOf(_index: number): number {
    return this.#inbox.deliveries
  }

  numberOf(_index: number): number {
    return this.#membership * membershipStep + this.#inbox.number
  }

  timestampOf(index: number): bigint {
    return this.#inbox.timestampOf(index)
  }

  payloadAt(index: number): number {
    return this.#inbox.payloadAt(index)
  }

  lengthOf(index: number): number {
    return this.#inbox.lengthOf(index)
  }

  bucketOf(index: number): number {
    return keyBucket(this.#options, this.region, this.payloadAt(index), this.lengthOf(index))
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const isReady = this.ahead > 0 || this.#errors.length > 0 || this.#unkeyed !== undefined
    if (this.#closed || isReady || this.#failure !== undefined || signal?.aborted) return
    await this.#parking.wait(timeoutMs, signal)
  }

  cancel(): void {
    this.#parking.rouse()
  }

  releaseAhead(): void {
    if (this.#inbox.open === 0) return
    this.#flush()
    // (Keys that the broker has asked for stay due: it claims nothing for this member until it has them.)
    this.#inbox.flush()
    this.renew()
    this.#parking.rouse()
  }

  /* ---- settling ---- */

  settleClaimed(from: number, to: number, outcome: WireOutcome, delayMs: number): Promise<number> {
    const claims = this.#inbox.claims(from, to, this.numberOf(from))
    const settled = this.settle(claims, outcome, delayMs).then((late) => claims.length - late.length)
    settled.catch(() => {})
    return settled
  }

  settle(claims: readonly Claim[], outcome: WireOutcome, delayMs: number): Promise<readonly Claim[]> {
    if (this.#failure !== undefined) return rejected(this.#failure)
    const own = claims.every((claim) => this.#isOwn(claim)) ? claims : claims.filter((claim) => this.#isOwn(claim))
    this.#held = Math.max(0, this.#held - own.length)
    const settled = this.#settlements.add(own, outcome, delayMs)
    if (own === claims) return settled
    const late = settled.then((late) => [...late, ...claims.filter((claim) => !own.includes(claim))])
    late.catch(() => {})
    return late
  }

  #isOwn({ number }: Claim): boolean {
    return Math.floor(number / membershipStep) === this.#membership
  }

  #flush(): void {
    if (this.#isJoined) this.#settlements.flush(this.#channel, (packet) => this.#link.send(packet))
    else this.#settlements.close()
  }

  async reject(claim: Claim, reason: string, delivered: number): Promise<boolean> {
    if (!this.#isOwn(claim)) return false
    const { sequence, deliveries } = claim
    const number = claim.number % membershipStep
    const answer = await this.#asking('reject', {
      sequence,
      deliveries,
      number,
      delivered,
      reason: reason.slice(0, 1000),
    })
    this.#held = Math.max(0, this.#held - 1)
    return answer['mine'] === true
  }

  async skip(sequence: number): Promise<boolean> {
    return (await this.#asking('skip', { sequence }))['mine'] === true
  }

  async describe(): Promise<GroupReport> {
    return parseReport(await this.#asking('describe', {}))
  }

  async sync(signal: AbortSignal | undefined): Promise<void> {
    await this.#asking('sync', {}, signal)
  }

  async #asking(op: string, fields: Readonly<Record<string, unknown>>, signal?: AbortSignal) {
    if (this.#failure !== undefined) throw this.#failure
    this.#flush()
    return this.#asks.ask(op, fields, signal)
  }

  /** Tells how far it is; shows that it lives. */
  renew(): void {
    if (!this.#isJoined) return
    this.#link.send(demandPacket(this.#channel, this.#inbox.demand))
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.releaseAhead()
    this.#flush()
    this.#closed = true
    clearTimeout(this.#graceTimer)
    if (this.#isJoined && this.#failure === undefined) {
      await this.#leaving.leave(this.#link, this.#channel)
    }
    this.#gone()
    this.#failure ??= closedError(this.#link.settings.url)
    this.#settlements.fail(this.#failure)
    this.#asks.fail(this.#failure)
    this.#link.abandon(this)
    this.#parking.close()
  }
}
