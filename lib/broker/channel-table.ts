import { HermesError } from '../base/errors.js'
import { protocolError } from '../wire/packet.js'
import type { MemberChannel } from './member-channel.js'
import type { Openings, Permit } from './openings.js'
import type { PublisherChannel } from './publisher-channel.js'
import type { SessionPort } from './session-port.js'
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
  readonly #openings: Openings
  readonly #client: Pick<SessionPort, 'party' | 'later'>
  /** To open one more. */
  #permit: Permit | undefined
  #isAsked = false
  /** Told of each channel that is open. */
  opened: (number: number, channel: Channel) => void = () => {}
  #underWay = 0
  #highest = 0

  /**
   * @param most  channels at a time
   * @param openings lets so many of them begin
   * @param client asks for `startNext` to be called in a turn of the client's
   */
  constructor(most: number, openings: Openings, client: Pick<SessionPort, 'party' | 'later'>) {
    this.#most = most
    this.#openings = openings
    this.#client = client
  }

  get size(): number {
    return this.#open.size + this.#opening.size
  }

  /** With their numbers. */
  entries(): IterableIterator<[number, Channel]> {
    return this.#open.entries()
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
    this.#prepareNext()
    if (this.hasNext) this.#client.later()
  }

  /** Whether there is one that may be opened now. */
  get hasNext(): boolean {
    return this.#permit !== undefined && this.#line.length > 0
  }

  /** Begins to open the next one. REQUIRES: `hasNext`. */
  startNext(): void {
    const work = this.#line.shift() as () => Promise<void>
    const permit = this.#permit as Permit
    this.#permit = undefined
    this.#underWay++
    void work().finally(() => {
      permit.release()
      this.#underWay--
      this.#prepareNext()
      if (this.hasNext) this.#client.later()
    })
    this.#prepareNext()
  }

  /** Asks for a permit if one is of use. */
  #prepareNext(): void {
    if (this.#permit !== undefined || this.#isAsked || this.#line.length === 0 || this.#underWay >= mostOpenings) return
    this.#isAsked = true
    let isLater = false
    this.#openings.ask(this.#client.party, (permit) => {
      this.#isAsked = false
      // (they may have gone meanwhile)
      if (this.#line.length === 0) {
        permit.release()
        return
      }
      this.#permit = permit
      if (isLater) this.#client.later()
    })
    isLater = true
  }

  /** The channel is open. */
  add(number: number, channel: Channel): void {
    this.#open.set(number, channel)
    this.opened(number, channel)
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
    this.#permit?.release()
    this.#permit = undefined
    return all
  }
}
