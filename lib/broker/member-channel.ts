import { HermesError } from '../base/errors.js'
import { frameBytes } from '../frame/frame.js'
import type { LocalConsumer } from '../placement/local/consumer.js'
import { parseAsk, parseRejection, reportToWire } from '../wire/group-messages.js'
import { type Demand, messagesPacket, mostUnkeyed, readDemand, settledPacket } from '../wire/group-packets.js'
import { errorToWire, integer, parseJson } from '../wire/messages.js'
import { packetType, protocolError } from '../wire/packet.js'
import { jsonPacket, u64Packet } from '../wire/packet-writer.js'
import type { Delivering } from './deliveries.js'
import type { Membership } from './membership.js'
import type { Memberships } from './memberships.js'

/** Messages of one claim. */
const mostClaim = 256
/** A member that waits looks up so often. */
const parkMs = 1000
/** Errors that a member is told, and goes on behind. */
const passing: ReadonlySet<string> = new Set(['POSITION_LOST', 'CORRUPT'])
/** Another look after one of those: a message that is damaged comes again and again. */
const passingMs = 1000

/** What a member's channel needs of its session. */
export interface MemberHost {
  send(packet: Buffer): void
  /** Ends the channel with an ERROR. */
  failChannel(channel: number, error: HermesError): void
  /** There may be something to send for the channel: `deliver` sends it. */
  note(channel: Delivering): void
  deliver(): boolean
  /** When something was last heard of the client, of `performance.now()`. */
  readonly heardAt: number
  /** The client's system has ended the connection. */
  readonly wasLetGo: boolean
  /** An error as the client may see it. */
  shown(error: HermesError): HermesError
}

/** A remote member of a group, or the holder of a durable subscription, while it has a connection. */
export class MemberChannel implements Delivering {
  readonly kind = 'member'
  /** For the log. */
  readonly topic: { readonly name: string }
  readonly membership: Membership
  readonly #host: MemberHost
  readonly #channel: number
  readonly #memberships: Memberships
  readonly #consumer: LocalConsumer | undefined
  #epoch = 0
  /** A wait for messages is under way. */
  #waits = false
  /** So many keys are due from the client. */
  #keysDue = 0
  /** SETTLEs up to it were answered on this channel. */
  #answered: number
  #ended = false

  constructor(host: MemberHost, channel: number, memberships: Memberships, membership: Membership, answered: number) {
    this.#host = host
    this.#channel = channel
    this.#memberships = memberships
    this.membership = membership
    this.topic = { name: membership.of.topic }
    this.#consumer = membership.consumer
    this.#answered = answered
    membership.attached = this
  }

  get heardAt(): number {
    return this.#host.heardAt
  }

  get hasEnded(): boolean {
    return this.#ended
  }

  /** One of the packets that are for members. @throws HermesError `PROTOCOL`; any other ends the membership */
  packet(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case packetType.demand:
        this.#demand(bytes, start)
        return
      case packetType.settle:
        this.membership.settle(bytes, start, end)
        return
      case packetType.ask:
        this.#ask(parseJson(bytes, start, end))
        return
      case packetType.keys:
        this.#keys(bytes, start, end)
        return
      default:
        this.#commit(bytes.readBigUInt64LE(start))
    }
  }

  /* ---- messages ---- */

  #demand(bytes: Buffer, start: number): void {
    const { taken, limit, epoch }: Demand = readDemand(bytes, start)
    if (epoch < this.#epoch) throw protocolError('The epochs of DEMAND do not go back.')
    if (this.#consumer === undefined) {
      // A durable subscription only shows that it lives.
      if (taken > 0 || limit > 0) throw protocolError('A durable subscription has no messages of its own.')
      return
    }
    this.membership.demand(taken, limit, epoch > this.#epoch)
    this.#epoch = epoch
    this.pump()
  }

  /** There may be something to send. */
  pump(): void {
    if (this.#ended || this.#waits || this.#keysDue > 0 || this.membership.room <= 0) return
    this.#host.note(this)
    this.#host.deliver()
  }

  /** Claims for the client, and sends it. Returns how much work it was, in bytes. */
  deliver(): number {
    const consumer = this.#consumer
    if (consumer === undefined || this.#ended || this.#waits || this.#keysDue > 0) return 0
    const { room } = this.membership
    if (room <= 0) return 0
    try {
      const count = consumer.claim(Math.min(room, mostClaim))
      if (count > 0) return this.#send(consumer, count)
      if (consumer.stop === 'no-key') return this.#askKeys(consumer)
      void this.#wait(consumer, parkMs)
    } catch (error) {
      this.#failed(consumer, error)
    }
    return 0
  }

  /** Runs of equal deliveries go in a packet each: most claims are one. */
  #send(consumer: LocalConsumer, count: number): number {
    const number = consumer.numberOf(0)
    let sent = 0
    for (let from = 0; from < count; ) {
      const deliveries = consumer.deliveriesOf(from)
      let to = from + 1
      while (to < count && consumer.deliveriesOf(to) === deliveries) to++
      const head = { epoch: this.#epoch, count: to - from, deliveries, number, ordinal: this.membership.nextOrdinal }
      sent += this.#sendFrames(packetType.messages, head, consumer, from, to)
      this.membership.noteSent(from, to)
      from = to
    }
    return sent
  }

  #sendFrames(
    type: number,
    head: Parameters<typeof messagesPacket>[2],
    consumer: LocalConsumer,
    from: number,
    to: number,
  ): number {
    const last = to - 1
    const begin = consumer.frameAt(from)
    const end = consumer.frameAt(last) + frameBytes(consumer.lengthOf(last))
    // A copy: the next claim overwrites them.
    this.#host.send(messagesPacket(type, this.#channel, head, consumer.region.bytes, begin, end))
    return end - begin
  }

  /** The client finds the keys of what comes next. */
  #askKeys(consumer: LocalConsumer): number {
    const count = consumer.nextUnkeyed(mostUnkeyed)
    // Another member was faster.
    if (count === 0) {
      void this.#wait(consumer, 1)
      return 0
    }
    this.#keysDue = count
    const head = { epoch: 0, count, deliveries: 0, number: 0, ordinal: 0 }
    return this.#sendFrames(packetType.unkeyed, head, consumer, 0, count)
  }

  #keys(bytes: Buffer, start: number, end: number): void {
    const consumer = this.#consumer
    if (consumer === undefined || this.#keysDue === 0 || (end - start) / 4 !== this.#keysDue)
      throw protocolError('KEYS came that were not asked for.')
    this.#keysDue = 0
    const hashes: number[] = []
    for (let at = start; at < end; at += 4) hashes.push(bytes.readUInt32LE(at))
    consumer.enterHashes(hashes)
    this.pump()
  }

  async #wait(consumer: LocalConsumer, ms: number): Promise<void> {
    this.#waits = true
    try {
      await this.membership.wait(ms)
    } catch (error) {
      if (!this.#ended) this.#failed(consumer, error)
      return
    } finally {
      this.#waits = false
    }
    this.pump()
  }

  #failed(consumer: LocalConsumer, error: unknown): void {
    if (!(error instanceof HermesError)) {
      this.fail(new HermesError('IO_FAILED', String(error), { cause: error }))
    } else if (passing.has(error.code)) {
      this.#host.send(jsonPacket(packetType.answer, this.#channel, { id: 0, error: this.#errorToWire(error) }))
      if (error.code === 'POSITION_LOST') void this.#wait(consumer, 1)
      else void this.#rest()
    } else {
      this.giveUp(error)
    }
  }

  async #rest(): Promise<void> {
    this.#waits = true
    await new Promise((resolve) => setTimeout(resolve, passingMs).unref())
    this.#waits = false
    this.pump()
  }

  #errorToWire(error: unknown): unknown {
    return errorToWire(error instanceof HermesError ? this.#host.shown(error) : error)
  }

  /* ---- settling ---- */

  /** Answers for all SETTLEs that have arrived. */
  acknowledge(): void {
    const { settled } = this.membership
    if (this.#ended || settled === this.#answered) return
    this.#host.send(settledPacket(this.#channel, settled, this.membership.lateBehind(this.#answered)))
    this.#answered = settled
  }

  #commit(sequence: bigint): void {
    const { position } = this.membership
    if (position === undefined) throw protocolError('COMMIT is for durable subscriptions.')
    if (sequence > BigInt(Number.MAX_SAFE_INTEGER)) throw protocolError('A sequence is beyond 2^53 - 1.')
    position.commit(Number(sequence))
    this.#host.send(u64Packet(packetType.committed, this.#channel, sequence))
  }

  #ask(fields: Readonly<Record<string, unknown>>): void {
    const ask = parseAsk(fields)
    void this.membership
      .once(ask.id, ask.done, () => this.#answer(ask.op, fields))
      .then(
        (answer) => ({ id: ask.id, ...(answer as object) }),
        (error: unknown) => ({ id: ask.id, error: this.#errorToWire(error) }),
      )
      .then((answer) => {
        if (!this.#ended) this.#host.send(jsonPacket(packetType.answer, this.#channel, answer))
      })
  }

  async #answer(op: string, fields: Readonly<Record<string, unknown>>): Promise<object> {
    const { consumer, position } = this.membership
    switch (op) {
      case 'sync':
        await (consumer ?? position)?.sync(undefined)
        return {}
      case 'lost':
        position?.noteLost(integer(fields, 'count', 1))
        return {}
    }
    if (consumer === undefined) throw new HermesError('UNSUPPORTED', `A durable subscription knows no '${op}'.`)
    switch (op) {
      case 'reject': {
        const { claim, reason, delivered } = parseRejection(fields)
        return { mine: await consumer.reject(claim, reason, delivered) }
      }
      case 'skip':
        return { mine: consumer.skip(integer(fields, 'sequence', 1)) }
      case 'describe':
        return { report: reportToWire(await consumer.describe()) }
      default:
        throw new HermesError('UNSUPPORTED', `This broker knows no '${op}' of groups.`)
    }
  }

  /* ---- the end ---- */

  /** Ends the membership, too. */
  giveUp(error: HermesError): void {
    void this.#memberships.leave(this.membership)
    this.fail(error)
  }

  /** The membership has ended, or has another connection. */
  fail(error: HermesError): void {
    if (this.#ended) return
    this.#stop()
    this.#host.failChannel(this.#channel, error)
  }

  /** @param leaves the client leaves the group; else it may come back */
  async end(leaves: boolean): Promise<void> {
    if (this.#ended) return
    if (leaves) this.acknowledge()
    this.#stop()
    if (leaves) await this.#memberships.leave(this.membership)
    else this.#memberships.detach(this.membership, this.#host.wasLetGo)
  }

  #stop(): void {
    this.#ended = true
    this.#consumer?.cancel()
    if (this.membership.attached === this) this.membership.attached = undefined
  }
}
