import { HermesError } from '../base/errors.js'
import type { Rights } from './access.js'
import type { BrokerLimits } from './options.js'

/** What one identity may have of what is for all: room for unfinished packets and for what is not taken, subscribers. */
const identityShare = 1 / 4

/** Above this, no more is read from a client, and no more is delivered to it: bytes that wait to be written. */
const mostUnreadOfOne = 1024 * 1024
/** The same where its identity, or all together, have more than their share. (Streams tell when less than that is written, but not when less than half.) */
const leastUnreadOfOne = 64 * 1024

/** One socket, from the moment that it is accepted until it is closed. */
export interface Guest {
  readonly address: string
  /** The name of its access entry; `undefined` until it has said HELLO, and where authentication is not configured. */
  readonly identity: string | undefined
}

interface Entry extends Guest {
  identity: string | undefined
  state: 'new' | 'known' | 'gone'
  administers: boolean
  buffered: number
  unread: number
  subscribers: number
  readonly drop: () => void
}

/**
 * Admission of connections: limits per address and per identity, and a reserve for administrators. A newcomer is turned away, or takes the place
 * of the one who has been without a HELLO for longest: so silent connections cannot keep others out.
 */
export class Admission {
  readonly #limits: BrokerLimits
  readonly #reserved: number
  readonly #report: (event: string, facts: Readonly<Record<string, unknown>>) => void
  /** Of the last second, by address. */
  readonly #handshakes = new Map<string, number>()
  readonly #byAddress = new Map<string, number>()
  readonly #byIdentity = new Map<string, number>()
  readonly #bufferedByIdentity = new Map<string, number>()
  readonly #unreadByIdentity = new Map<string, number>()
  /** Without a HELLO, by address, oldest first. */
  readonly #strangers = new Map<string, Set<Entry>>()
  readonly #subscribersByIdentity = new Map<string, number>()
  readonly #mostSubscribers: number
  #subscribers = 0
  #held = 0
  #ordinary = 0
  #buffered = 0
  #unread = 0

  /** @param files how many files may be open: each subscriber needs one, and half of them are for others */
  constructor(
    limits: BrokerLimits,
    report: (event: string, facts: Readonly<Record<string, unknown>>) => void,
    files: number = Number.MAX_SAFE_INTEGER,
  ) {
    this.#limits = limits
    this.#mostSubscribers = Math.max(1, Math.min(limits.maxSubscribers, Math.floor(files / 2)))
    // A small broker keeps a quarter for them.
    this.#reserved = Math.min(limits.reservedConnections, Math.floor(limits.maxConnections / 4))
    this.#report = report
  }

  /** Sockets: also those that are being told why they may not stay. */
  get held(): number {
    return this.#held
  }

  /** Subscribers that are open. */
  get subscribers(): number {
    return this.#subscribers
  }

  /** Bytes that are set aside for what has arrived and could not be worked on yet. */
  get bufferedBytes(): number {
    return this.#buffered
  }

  /** @param drop ends the socket at once. Returns `undefined` if it may not stay. */
  admit(address: string, drop: () => void): Guest | undefined {
    const { maxHandshakesPerSecond, maxConnections, maxConnectionsPerAddress, maxUnauthenticatedPerAddress } =
      this.#limits
    const before = this.#handshakes.get(address) ?? 0
    this.#handshakes.set(address, before + 1)
    if (before >= maxHandshakesPerSecond) {
      this.#report('too-many-handshakes', { address, limit: maxHandshakesPerSecond })
      return undefined
    }
    if ((this.#byAddress.get(address) ?? 0) >= maxConnectionsPerAddress) {
      if (!this.#dropStranger(address, maxConnectionsPerAddress, 'too-many-from-address')) return undefined
    } else if ((this.#strangers.get(address)?.size ?? 0) >= maxUnauthenticatedPerAddress) {
      this.#dropStranger(address, maxUnauthenticatedPerAddress, 'too-many-unauthenticated')
    }
    if (this.#held >= maxConnections && !this.#dropStranger(undefined, maxConnections, 'too-many-connections'))
      return undefined
    const entry: Entry = {
      address,
      identity: undefined,
      state: 'new',
      administers: false,
      buffered: 0,
      unread: 0,
      subscribers: 0,
      drop,
    }
    this.#held++
    this.#byAddress.set(address, (this.#byAddress.get(address) ?? 0) + 1)
    let strangers = this.#strangers.get(address)
    if (strangers === undefined) {
      strangers = new Set()
      this.#strangers.set(address, strangers)
    }
    strangers.add(entry)
    return entry
  }

  /** Ends the oldest socket without a HELLO: that of the address, or of the address that has most of them. False if there is none. */
  #dropStranger(address: string | undefined, limit: number, event: string): boolean {
    let most: Set<Entry> | undefined = address === undefined ? undefined : this.#strangers.get(address)
    if (address === undefined) {
      for (const strangers of this.#strangers.values())
        if (most === undefined || strangers.size > most.size) most = strangers
    }
    const oldest = most?.values().next().value
    this.#report(event, {
      address: oldest?.address ?? address,
      limit,
      dropped: oldest === undefined ? 'newest' : 'oldest',
    })
    if (oldest === undefined) return false
    this.leave(oldest)
    oldest.drop()
    return true
  }

  /** A HELLO was accepted. @throws HermesError `LIMIT` */
  identify(guest: Guest, rights: Rights, isAsked: boolean): void {
    const entry = guest as Entry
    if (entry.state !== 'new') return
    const { maxConnections, maxConnectionsPerIdentity } = this.#limits
    if (isAsked) {
      const has = this.#byIdentity.get(rights.name) ?? 0
      if (has >= maxConnectionsPerIdentity)
        throw limit('maxConnectionsPerIdentity', maxConnectionsPerIdentity, `'${rights.name}' has ${has} connections`)
      const most = maxConnections - this.#reserved
      if (!rights.administer && this.#ordinary >= most)
        throw limit(
          'reservedConnections',
          this.#reserved,
          `The last ${this.#reserved} connections are for administrators`,
        )
      entry.identity = rights.name
      this.#byIdentity.set(rights.name, has + 1)
      add(this.#bufferedByIdentity, rights.name, entry.buffered)
      add(this.#unreadByIdentity, rights.name, entry.unread)
    }
    entry.administers = rights.administer
    if (!rights.administer) this.#ordinary++
    entry.state = 'known'
    this.#forget(entry)
  }

  /** What a guest may do has changed: whether it counts for the reserve may have, too. */
  review(guest: Guest, { administer }: Rights): void {
    const entry = guest as Entry
    if (entry.state !== 'known' || entry.administers === administer) return
    entry.administers = administer
    this.#ordinary += administer ? -1 : 1
  }

  /** So many bytes more, or fewer, are set aside for what the guest has sent. @throws HermesError `LIMIT` */
  setAside(guest: Guest, bytes: number): void {
    const entry = guest as Entry
    if (entry.state === 'gone') return
    const { maxBufferedBytes } = this.#limits
    if (bytes > 0) {
      const identity = entry.identity === undefined ? 0 : (this.#bufferedByIdentity.get(entry.identity) ?? 0)
      if (this.#buffered + bytes > maxBufferedBytes || identity + bytes > maxBufferedBytes * identityShare)
        throw limit(
          'maxBufferedBytes',
          maxBufferedBytes,
          'Too much was sent that is not whole or could not be worked on yet',
        )
    }
    this.#count(entry, bytes)
  }

  /** Bytes that were written for clients and not taken yet. */
  get unreadBytes(): number {
    return this.#unread
  }

  /** So many bytes wait now that were written for the guest. */
  noteUnread(guest: Guest, bytes: number): void {
    const entry = guest as Entry
    if (entry.state === 'gone' || bytes === entry.unread) return
    const wasMuch = this.#isMuch(entry)
    this.#countUnread(entry, bytes - entry.unread)
    if (wasMuch || !this.#isMuch(entry)) return
    const { identity, address } = entry
    this.#report('too-much-unread', { address, identity, limit: this.#limits.maxUnreadBytes, bytes: this.#unread })
  }

  /** How much may wait for the guest before it is served no further. */
  mostUnread(guest: Guest): number {
    return this.#isMuch(guest as Entry) ? leastUnreadOfOne : mostUnreadOfOne
  }

  #isMuch({ identity }: Entry): boolean {
    const { maxUnreadBytes } = this.#limits
    if (this.#unread > maxUnreadBytes) return true
    return identity !== undefined && (this.#unreadByIdentity.get(identity) ?? 0) > maxUnreadBytes * identityShare
  }

  #countUnread(entry: Entry, by: number): void {
    entry.unread += by
    this.#unread += by
    if (entry.identity !== undefined) add(this.#unreadByIdentity, entry.identity, by)
  }

  /** The guest opens a subscriber. @throws HermesError `LIMIT` */
  subscribe(guest: Guest): void {
    const entry = guest as Entry
    const most = this.#mostSubscribers
    const { identity } = entry
    const mostOfOne = Math.max(1, Math.floor(most * identityShare))
    if (identity !== undefined && (this.#subscribersByIdentity.get(identity) ?? 0) >= mostOfOne)
      throw limit('maxSubscribers', most, `'${identity}' has ${mostOfOne} subscribers, its part of as many`)
    if (this.#subscribers >= most) throw limit('maxSubscribers', most, `The broker has ${most} subscribers`)
    this.#countSubscribers(entry, 1)
  }

  /** It has closed one. */
  unsubscribe(guest: Guest): void {
    const entry = guest as Entry
    if (entry.subscribers > 0) this.#countSubscribers(entry, -1)
  }

  #countSubscribers(entry: Entry, by: number): void {
    entry.subscribers += by
    this.#subscribers += by
    if (entry.identity !== undefined) add(this.#subscribersByIdentity, entry.identity, by)
  }

  #count(entry: Entry, bytes: number): void {
    entry.buffered += bytes
    this.#buffered += bytes
    if (entry.identity !== undefined) add(this.#bufferedByIdentity, entry.identity, bytes)
  }

  /** Its socket is closed. */
  leave(guest: Guest): void {
    const entry = guest as Entry
    if (entry.state === 'gone') return
    this.#count(entry, -entry.buffered)
    this.#countUnread(entry, -entry.unread)
    this.#countSubscribers(entry, -entry.subscribers)
    if (entry.state === 'known' && !entry.administers) this.#ordinary--
    entry.state = 'gone'
    this.#held--
    add(this.#byAddress, entry.address, -1)
    if (entry.identity !== undefined) add(this.#byIdentity, entry.identity, -1)
    this.#forget(entry)
  }

  /** Call once per second. */
  nextSecond(): void {
    this.#handshakes.clear()
  }

  #forget(entry: Entry): void {
    const strangers = this.#strangers.get(entry.address)
    if (strangers?.delete(entry) === true && strangers.size === 0) this.#strangers.delete(entry.address)
  }
}

function add(counts: Map<string, number>, name: string, by: number): void {
  const count = (counts.get(name) ?? 0) + by
  if (count === 0) counts.delete(name)
  else counts.set(name, count)
}

function limit(name: keyof BrokerLimits, most: number, what: string): HermesError {
  return new HermesError('LIMIT', `${what}, as many as the broker's limit '${name}' (${most}) allows.`, {
    details: { limit: name, most },
  })
}
