import { HermesError } from '../base/errors.js'
import { protocolError } from '../wire/packet.js'
import type { MemberChannel } from './member-channel.js'
import type { PublisherChannel } from './publisher-channel.js'
import type { SubscriberChannel } from './subscriber-channel.js'

export type Channel = PublisherChannel | SubscriberChannel | MemberChannel

/** Openings of one connection that are under way at once; the others wait in line. */
const mostOpenings = 16

/** The channels of one connection, and those that are being opened. Their numbers grow: each is used once. */
export class ChannelTable {
  readonly #most: number
  readonly #open = new Map<number, Channel>()
  /** True once the client closed it meanwhile. */
  readonly #opening = new Map<number, boolean>()
  readonly #line: (() => Promise<void>)[] = []
  readonly #later: () => void
  #underWay = 0
  #highest = 0

  /**
   * @param most  channels at a time
   * @param later asks for `startNext` to be called in a turn of the client's
   */
  constructor(most: number, later: () => void) {
    this.#most = most
    this.#later = later
  }

  get size(): number {
    return this.#open.size + this.#opening.size
  }

  values(): IterableIterator<Channel> {
    return this.#open.values()
  }

  /** Notes that the number is used. @throws HermesError `PROTOCOL` */
  use(number: number): void {
    if (number <= this.#highest) throw protocolError('The numbers of channels have to grow.')
    this.#highest = number
  }

  /** The channel; `undefined` if it has ended, and the client could not know yet. @throws HermesError `PROTOCOL` if it never was */
  find(number: number): Channel | undefined {
    const found = this.#open.get(number)
    if (found === undefined && (number === 0 || number > this.#highest))
      throw protocolError(`Channel ${number} was never opened.`)
    return found
  }

  /**
   * Notes a channel that is to be opened; `work` runs once its turn has come, in `startNext`.
   *
   * @throws HermesError `LIMIT`, `PROTOCOL`
   */
  begin(number: number, work: () => Promise<void>): void {
    this.use(number)
    if (this.size >= this.#most) {
      throw new HermesError(
        'LIMIT',
        `This connection has ${this.#most} publishers, subscribers and members of groups, as many as it may have.`,
        { details: { limit: 'maxChannels', most: this.#most } },
      )
    }
    this.#opening.set(number, false)
    this.#line.push(async () => {
      try {
        await work()
      } finally {
        this.#opening.delete(number)
      }
    })
    this.#later()
  }

  /** Whether there is one that may be opened now. */
  get hasNext(): boolean {
    return this.#underWay < mostOpenings && this.#line.length > 0
  }

  /** Begins to open the next one. REQUIRES: `hasNext`. */
  startNext(): void {
    const work = this.#line.shift() as () => Promise<void>
    this.#underWay++
    void work().finally(() => {
      this.#underWay--
      if (this.hasNext) this.#later()
    })
  }

  /** The channel is open. */
  add(number: number, channel: Channel): void {
    this.#open.set(number, channel)
  }

  /** Whether it is being opened, and the client has closed it meanwhile. */
  isCancelled(number: number): boolean {
    return this.#opening.get(number) === true
  }

  /** Notes that the client closes a channel that is being opened. False if none of that number is. */
  cancel(number: number): boolean {
    if (!this.#opening.has(number)) return false
    this.#opening.set(number, true)
    return true
  }

  /** Takes the channel out, if it is there. */
  remove(number: number): Channel | undefined {
    const found = this.#open.get(number)
    this.#open.delete(number)
    return found
  }

  /** Takes all channels out. Those that wait for their opening are not opened any more. */
  clear(): Channel[] {
    const all = [...this.#open.values()]
    this.#open.clear()
    this.#line.length = 0
    return all
  }
}
