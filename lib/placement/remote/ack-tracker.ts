import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import type { Run } from '../../wire/packet.js'
import type { Stamp } from '../port.js'
import { lastNumber, type SendBuffer } from '../send-buffer.js'

/** Of how many ranges of refused messages it is remembered why. */
const mostDrops = 64

/** Resolved once the first `upto` messages of the publisher are acknowledged. */
interface Waiter {
  readonly upto: number
  readonly deferred: Deferred<Stamp>
}

/** A SYNC that is not answered. */
interface Sync {
  readonly number: bigint
  readonly upto: number
  readonly deferred: Deferred<void>
}

/**
 * What has become of a publisher's messages, and who waits to learn it. Messages are counted from 1 on, in the order in which they were accepted; to
 * the broker they have numbers, which grow with gaps.
 */
export class AckTracker {
  /** So many of the first messages are acknowledged. */
  acknowledged = 0
  /** The number of the newest of them. */
  ackedNumber = 0n
  /** What the newest of them got. */
  lastSequence = 0
  lastTimestampNs = 0n
  readonly #topic: string
  /** The highest number that any connection was given: none above it can have been stored. */
  #givenNumber = 0n
  #waiters: Waiter[] = []
  #syncs: Sync[] = []
  /** So many of the first messages are on stable storage for certain. */
  #safe = 0
  /** The outcome of others is not known, and the caller was not told yet: a sync has failed at the broker. */
  #doubt: HermesError | undefined
  /** Messages that were refused, or whose outcome is unknown: the newest ranges. */
  #drops: { readonly after: number; readonly upto: number; readonly reason: HermesError }[] = []

  constructor(topic: string) {
    this.#topic = topic
  }

  /** Whether no call waits for an acknowledgement. */
  get isUnawaited(): boolean {
    return this.#waiters.length === 0
  }

  /** Whether no SYNC is under way. */
  get isSettled(): boolean {
    return this.#syncs.length === 0
  }

  /** The numbers of the SYNCs that are under way, to be sent again on another connection. */
  get pendingSyncs(): readonly bigint[] {
    return this.#syncs.map(({ number }) => number)
  }

  /** The broker was sent everything up to this number. */
  given(number: bigint): void {
    if (number > this.#givenNumber) this.#givenNumber = number
  }

  /** A broker that acknowledges what it was never given is not to be believed in anything. @throws HermesError `PROTOCOL` */
  checkGiven(number: bigint): void {
    if (number <= this.#givenNumber) return
    throw new HermesError('PROTOCOL', `The broker acknowledged a message of '${this.#topic}' that it was never sent.`)
  }

  /** Waits until the first `upto` messages are acknowledged. @returns what the last of them got */
  wait(upto: number): Promise<Stamp> {
    const deferred = new Deferred<Stamp>()
    const waiter = { upto, deferred }
    // Nearly always the newest; kept in order, so that acknowledgements settle from the front.
    let at = this.#waiters.length
    while (at > 0 && (this.#waiters[at - 1] as Waiter).upto > upto) at--
    this.#waiters.splice(at, 0, waiter)
    deferred.promise.catch(() => {})
    return deferred.promise
  }

  /** Waits for the answer to a SYNC of all that is acknowledged now. */
  sync(): Promise<void> {
    const deferred = new Deferred<void>()
    deferred.promise.catch(() => {})
    this.#syncs.push({ number: this.ackedNumber, upto: this.acknowledged, deferred })
    return deferred.promise
  }

  /** Everything up to the run's end has reached the publisher's durability: releases it from `buffer`. @throws HermesError `PROTOCOL` */
  acknowledge(run: Run, buffer: SendBuffer): void {
    const last = run.first + BigInt(run.count) - 1n
    this.checkGiven(last)
    buffer.release(last, (batch) => {
      this.acknowledged = batch.before + batch.count
      this.ackedNumber = lastNumber(batch)
      const known = run.sequence > 0 && batch.first >= run.first
      const sequence = known ? run.sequence + Number(batch.first - run.first) : 0
      if (known) this.lastSequence = sequence + batch.count - 1
      this.lastTimestampNs = this.ackedNumber
      let served = 0
      for (const { upto, deferred } of this.#waiters) {
        if (upto > this.acknowledged) break
        served++
        const index = upto - batch.before - 1
        deferred.resolve({ sequence: known ? sequence + index : 0, timestampNs: batch.first + BigInt(index) })
      }
      if (served > 0) this.#waiters.splice(0, served)
    })
  }

  /** The broker has synced everything up to this number. */
  synced(number: bigint): void {
    const served = this.#syncs.filter((one) => one.number <= number)
    this.#syncs = this.#syncs.filter((one) => one.number > number)
    for (const one of served) {
      if (one.upto > this.#safe) this.#safe = one.upto
      one.deferred.resolve()
    }
  }

  /** What was acknowledged as written and not synced may be lost: a later sync must not be taken for one of that. */
  doubt(reason: HermesError): void {
    if (this.acknowledged <= this.#safe) return
    if (this.#syncs.length === 0) this.#doubt = reason
    this.failSyncs(reason)
    this.#safe = this.acknowledged
  }

  /** Why a sync can't be promised; returned once, to the next caller that asks. */
  takeDoubt(): HermesError | undefined {
    const doubt = this.#doubt
    this.#doubt = undefined
    return doubt
  }

  /** What is not acknowledged of the first `upto` messages is given up. */
  drop(upto: number, reason: HermesError): void {
    // No caller can be waiting for ranges further back, unless it has not asked for thousands of messages.
    this.#drops = [...this.#drops.slice(1 - mostDrops), { after: this.acknowledged, upto, reason }]
  }

  /** Why this message was given up; `undefined` if it was not. */
  dropped(message: number): HermesError | undefined {
    return this.#drops.find((range) => message > range.after && message <= range.upto)?.reason
  }

  failSyncs(error: HermesError): void {
    const syncs = this.#syncs
    this.#syncs = []
    for (const one of syncs) one.deferred.reject(error)
  }

  /** Ends all waits. */
  failAll(error: HermesError): void {
    const waiters = this.#waiters
    this.#waiters = []
    for (const one of waiters) one.deferred.reject(error)
    this.failSyncs(error)
  }
}
