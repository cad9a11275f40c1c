import { HermesError } from '../base/errors.js'
import { RetryError } from '../wire/retry.js'
import type { Membership, MembershipOf } from './membership.js'
import type { BrokerLimits } from './options.js'

/** What one access entry may have of all members. */
const identityShare = 1 / 4
/** Open files of one member. */
const filesPerMember = 6
/** Leases and graces are looked at so often. */
const lookMs = 25
/** After such a pause of this broker no member's silence counts: packets that came meanwhile have not been read yet. */
const pausedMs = 150

/** Time for the answer to a JOIN to be sent. */
const joiningMs = 10_000

type Report = (event: string, facts: Readonly<Record<string, unknown>>) => void

/**
 * The remote members of all groups. A member whose client says nothing for as long as its lease loses what it holds; one whose connection is lost
 * keeps it for a while, and a client that comes with its token gets it again.
 */
export class Memberships {
  readonly #limits: BrokerLimits
  readonly #report: Report
  readonly #most: number
  readonly #byToken = new Map<string, Membership>()
  readonly #byIdentity = new Map<string, number>()
  readonly #closing = new Set<Promise<void>>()
  #count = 0
  #timer: NodeJS.Timeout | undefined
  #looked = 0
  #skipped = false
  #closed = false

  /** @param files how many files may be open; a quarter of them may be for members */
  constructor(limits: BrokerLimits, files: number, report: Report) {
    this.#limits = limits
    this.#report = report
    this.#most = Math.max(1, Math.min(limits.maxMembers, Math.floor(files / 4 / filesPerMember)))
  }

  get size(): number {
    return this.#count
  }

  /**
   * The membership that the token has, if it has one.
   *
   * @throws HermesError `UNAUTHORIZED` if it is another client's, or for another group
   */
  find(of: MembershipOf): Membership | undefined {
    const found = this.#byToken.get(of.token)
    if (found === undefined || found.hasEnded) return undefined
    const { identity, topic, group, kind } = found.of
    if (identity !== of.identity || topic !== of.topic || group !== of.group || kind !== of.kind)
      throw new HermesError('UNAUTHORIZED', 'The token is that of another member.', {
        details: { topic: of.topic, group: of.group },
      })
    return found
  }

  /**
   * Makes a membership.
   *
   * @param isAsked whether clients say who they are: then each identity has its part
   * @throws HermesError `LIMIT`, and what `make` throws
   */
  async make(of: MembershipOf, isAsked: boolean, make: () => Promise<Membership>): Promise<Membership> {
    if (this.#closed) throw new HermesError('CLOSED', 'The broker is shutting down.')
    const { identity } = of
    const most = this.#most
    const mostOfOne = Math.max(1, Math.floor(most * identityShare))
    const own = this.#byIdentity.get(identity) ?? 0
    if (isAsked && own >= mostOfOne)
      throw this.#limit(of, `'${identity}' has ${mostOfOne} members of groups, its part of as many`)
    if (this.#count >= most) throw this.#limit(of, `The broker has ${most} members of groups`)
    this.#counted(identity, 1)
    let made: Membership
    try {
      made = await make()
    } catch (error) {
      this.#counted(identity, -1)
      throw error
    }
    if (this.#closed) {
      this.#end(made)
      throw new HermesError('CLOSED', 'The broker is shutting down.')
    }
    const before = this.#byToken.get(of.token)
    // (a client that has lost its connection while it joined has joined twice)
    if (before !== undefined) void this.#end(before)
    made.keptUntil = performance.now() + joiningMs
    this.#byToken.set(of.token, made)
    this.#timer ??= setInterval(() => this.#look(), lookMs)
    this.#timer.unref()
    return made
  }

  #limit({ topic, group, identity }: MembershipOf, what: string): HermesError {
    this.#report('too-many-members', { topic, group, identity, limit: this.#most })
    return new HermesError('LIMIT', `${what}, as many as the broker's limit 'maxMembers' (${this.#most}) allows.`, {
      details: { limit: 'maxMembers', most: this.#most, topic, group },
    })
  }

  #counted(identity: string, by: number): void {
    this.#count += by
    const count = (this.#byIdentity.get(identity) ?? 0) + by
    if (count === 0) this.#byIdentity.delete(identity)
    else this.#byIdentity.set(identity, count)
  }

  /**
   * Its connection is gone: it is kept for a while.
   *
   * @param wasLetGo the client's system has ended the connection: a client that lives is back soon, and nobody waits for one that was killed
   */
  detach(membership: Membership, wasLetGo: boolean): void {
    const mostMs = wasLetGo ? this.#limits.memberReturnMs : Number.POSITIVE_INFINITY
    membership.attached = undefined
    membership.keptUntil = performance.now() + Math.min(membership.graceMs, mostMs)
    if (membership.of.graceMs === 0 || this.#closed) void this.leave(membership)
  }

  /** It leaves its group now. Resolves once others may have what it held. */
  leave(membership: Membership): Promise<void> {
    return this.#end(membership)
  }

  #end(membership: Membership): Promise<void> {
    const { token, identity, topic, group } = membership.of
    if (!membership.hasEnded) this.#counted(identity, -1)
    if (this.#byToken.get(token) === membership) this.#byToken.delete(token)
    const closing = membership.close().catch((error: unknown) => {
      this.#report('close-failed', { topic, group, error: String(error) })
    })
    this.#closing.add(closing)
    void closing.finally(() => this.#closing.delete(closing))
    if (this.#byToken.size === 0) {
      clearInterval(this.#timer)
      this.#timer = undefined
      this.#looked = 0
    }
    return closing
  }

  #look(): void {
    const now = performance.now()
    const wasPaused = this.#looked !== 0 && now - this.#looked > lookMs + pausedMs
    this.#looked = now
    // (packets are read between any two looks; a broker that is always late would else wait for the silent for ever)
    this.#skipped = wasPaused && !this.#skipped
    if (this.#skipped) return
    for (const membership of this.#byToken.values()) {
      const { attached, rules, keptUntil, of } = membership
      const lost = membership.position?.lost
      if (lost !== undefined) {
        // Reset or deleted: its subscriber is told now, or when it comes back.
        this.#report('position-lost', { topic: of.topic, group: of.group, identity: of.identity, code: lost.code })
        membership.attached = undefined
        void this.#end(membership)
        attached?.fail(lost)
      } else if (attached === undefined) {
        if (now < keptUntil) continue
        this.#report('member-gone', { topic: of.topic, group: of.group, identity: of.identity })
        void this.#end(membership)
      } else if (now - attached.heardAt > rules.leaseMs) {
        const { topic, group, identity } = of
        this.#report('member-silent', { topic, group, identity, leaseMs: rules.leaseMs })
        membership.attached = undefined
        void this.#end(membership)
        attached.fail(silent(of, rules.leaseMs))
      }
    }
  }

  /** All leave. */
  async close(): Promise<void> {
    this.#closed = true
    for (const membership of [...this.#byToken.values()]) void this.#end(membership)
    await Promise.all(this.#closing)
  }

  /** The limits' own grace, or less if the client says so. */
  graceMs(asked: number | undefined): number {
    return Math.min(this.#limits.memberGraceMs, asked ?? Number.POSITIVE_INFINITY)
  }
}

function silent({ topic, group }: MembershipOf, leaseMs: number): RetryError {
  return new RetryError(
    'LEASE_LOST',
    `This member of group '${group}' of topic '${topic}' has said nothing for ${leaseMs} ms: what it held is with others.`,
    { details: { topic, group, leaseMs } },
  )
}
