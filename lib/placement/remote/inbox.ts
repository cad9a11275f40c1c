import type { Region } from '../../codec/codec.js'
import type { Demand, MessagesHead } from '../../wire/group-packets.js'
import { protocolError } from '../../wire/packet.js'
import type { Claim } from '../consumer-port.js'
import { Arrived } from './arrived.js'

const noRegion: Region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }

/**
 * What a member was sent: messages that wait to be handed out, and those of the last claim. Counts those of the present membership, as DEMAND does: handed out,
 * arrived, and asked for.
 */
export class Inbox {
  /** In the order of their coming; the first one is being handed out. */
  readonly #arrived: Arrived[] = []
  #current: Arrived | undefined
  /** Of `#current`: the last claim begins there. */
  #from = 0
  #taken = 0
  #received = 0
  #limit = 0
  #epoch = 0

  get demand(): Demand {
    return { taken: this.#taken, limit: this.#limit, epoch: this.#epoch }
  }

  /** How many wait to be handed out. */
  get left(): number {
    return this.#received - this.#taken
  }

  /** How many are there or may come. */
  get open(): number {
    return this.#limit - this.#taken
  }

  /** What lies here, or is under way, comes again. */
  drop(): void {
    this.#arrived.length = 0
    this.#received = this.#taken
    this.#limit = this.#taken
  }

  /** As `drop`, on a channel that goes on: what is under way belongs to an older epoch then. */
  flush(): void {
    this.drop()
    this.#epoch++
  }

  /** A channel begins. */
  begin(): void {
    this.drop()
    this.#epoch = 0
  }

  /** A membership begins. */
  restart(): void {
    this.#taken = 0
    this.drop()
  }

  /** So many more than were handed out may come. */
  ask(window: number): void {
    this.#limit = this.#taken + window
  }

  /** @throws HermesError `PROTOCOL` */
  add(head: MessagesHead, bytes: Buffer, start: number, end: number): void {
    if (head.epoch !== this.#epoch) return
    if (head.ordinal !== this.#received + 1 || this.#received + head.count > this.#limit)
      throw protocolError(`The broker sent message ${head.ordinal} of a member, where ${this.#received + 1} was due.`)
    this.#arrived.push(new Arrived(head, bytes, start, end))
    this.#received += head.count
  }

  /** Hands out up to `limit` messages: those that the methods below tell of. */
  take(limit: number): number {
    let first = this.#arrived[0]
    while (first !== undefined && first.left === 0) {
      this.#arrived.shift()
      first = this.#arrived[0]
    }
    if (first === undefined) return 0
    const count = Math.min(limit, first.left)
    this.#current = first
    this.#from = first.handed
    first.handed += count
    this.#taken += count
    return count
  }

  get region(): Region {
    return this.#current ?? noRegion
  }

  /** Of the last claim; it's one number for all of it. */
  get deliveries(): number {
    return this.#of.head.deliveries
  }

  get number(): number {
    return this.#of.head.number
  }

  /** What messages `from` to `to` of the last claim are settled by. */
  claims(from: number, to: number, number: number): Claim[] {
    const { deliveries } = this
    const claims: Claim[] = []
    for (let index = from; index < to; index++) claims.push({ sequence: this.sequenceOf(index), deliveries, number })
    return claims
  }

  sequenceOf(index: number): number {
    return this.#of.sequenceOf(this.#from + index)
  }

  timestampOf(index: number): bigint {
    return this.#of.timestampOf(this.#from + index)
  }

  payloadAt(index: number): number {
    return this.#of.payloadAt(this.#from + index)
  }

  lengthOf(index: number): number {
    return this.#of.lengthOf(this.#from + index)
  }

  get #of(): Arrived {
    return this.#current as Arrived
  }
}
