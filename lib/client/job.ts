import { HermesError } from '../base/errors.js'
import { checkInteger, checkOptions, invalid } from '../base/options.js'
import type { Claim } from '../placement/consumer-port.js'
import { Message } from './message.js'

/** What a job needs of its group. */
export interface JobHost {
  settle(job: Job<unknown>, outcome: 'done' | 'returned' | 'released', delayMs: number): Promise<void>
  reject(job: Job<unknown>, reason: string): Promise<void>
  renew(job: Job<unknown>): void
}

export interface NackOptions {
  /** How long until the message comes again, to this member or another one: 0 to 86,400,000 ms. Default: the group's back-off. */
  readonly delayMs?: number
}

const mostDelayMs = 86_400_000
/** The group's back-off. */
export const backOff = -1

/**
 * A message that this member of a group is to handle. No other member gets it as long as this one lives and its event loop turns. It's the receiver's own: it stays valid for ever.
 *
 * Settle each job once, by `ack`, `nack` or `reject`. One that is not settled holds up the group's window, and comes again when the group is closed.
 */
export class Job<Out> extends Message<Out> implements Claim {
  /** How often the message was delivered, this time included: 2 or more tells of a redelivery. 255 stands for 255 or more. */
  readonly deliveries: number
  /** Tells this delivery of the message from others. */
  readonly number: number
  readonly #host: JobHost
  readonly #lane: number | undefined
  #settled = false
  #returned = false

  /** @internal */
  constructor(
    host: JobHost,
    value: Out,
    sequence: number,
    timestampLow: number,
    timestampHigh: number,
    deliveries: number,
    number: number,
    lane?: number,
  ) {
    super(value, sequence, timestampLow, timestampHigh)
    this.#host = host
    this.#lane = lane
    this.deliveries = deliveries
    this.number = number
  }

  /** Whether `ack`, `nack` or `reject` was called. */
  get isSettled(): boolean {
    return this.#settled
  }

  /** @internal Jobs of one lane are handled in their order; `undefined` where order does not count. */
  get lane(): number | undefined {
    return this.#lane
  }

  /** @internal It comes again. */
  get wasReturned(): boolean {
    return this.#returned
  }

  /** @internal It was not begun: it comes again, as if it had not been delivered. */
  release(): Promise<void> {
    return this.#host.settle(this, 'released', 0)
  }

  /** @internal @throws HermesError `INVALID_ARGUMENT` if it is settled already */
  markSettled(isReturned = false): void {
    if (this.#settled)
      throw invalid(`Message ${this.sequence} was settled already: a job is acknowledged, returned or rejected once.`)
    this.#settled = true
    this.#returned = isReturned
  }

  /** @internal It could not be settled, and may be again. */
  reopen(): void {
    this.#settled = false
  }

  /**
   * The message is handled: it does not come again.
   *
   * @throws HermesError `LEASE_LOST` if another member has it by now, `INVALID_ARGUMENT` if it is settled already, `CLOSED`
   */
  ack(): Promise<void>
  ack(more?: unknown): Promise<void> {
    if (more !== undefined) return Promise.reject(noOptions('ack()', 'group.sync() waits for stable storage'))
    return this.#host.settle(this, 'done', 0)
  }

  /** The message could not be handled: it comes again, to this member or another one. @throws HermesError as `ack` */
  async nack(options: NackOptions = {}): Promise<void> {
    checkOptions('nack()', options, ['delayMs'])
    const { delayMs } = options
    if (delayMs !== undefined) checkInteger('delayMs', delayMs, 0, mostDelayMs)
    return this.#host.settle(this, 'returned', delayMs ?? backOff)
  }

  /**
   * The message can never be handled: it goes into the dead-letter topic, and does not come again.
   *
   * @param reason for people; 1,000 characters of it are kept
   * @throws HermesError as `ack`; and what publishing there throws: then the message is not settled
   */
  async reject(reason: string): Promise<void> {
    if (typeof reason !== 'string') throw invalid('reject() takes a reason: a string.')
    return this.#host.reject(this, reason)
  }

  /**
   * The member's lease begins anew. Only for who keeps the event loop busy for longer than `leaseMs`: as long as it turns, the lease is renewed by itself.
   *
   * @throws HermesError `INVALID_ARGUMENT` if it is settled already, `CLOSED`
   */
  extend(): void
  extend(more?: unknown): void {
    if (more !== undefined) throw noOptions('extend()', "the lease's length is 'leaseMs' of topic.group()")
    this.#host.renew(this)
  }
}

export function leaseLost(topic: string, group: string, sequences: readonly number[]): HermesError {
  const which =
    sequences.length === 1 ? `Message ${sequences[0]}` : `${sequences.length} messages, the first one ${sequences[0]},`
  return new HermesError(
    'LEASE_LOST',
    `${which} of topic '${topic}' ${sequences.length === 1 ? 'is' : 'are'} no longer with this member of group '${group}': its lease was over, or the group was reset. Another member handles it again.`,
    { details: { topic, group, sequences: sequences.slice(0, 100) } },
  )
}

/** For what a call of a job would pass over. */
export const noOptions = (call: string, where: string): HermesError => invalid(`${call} takes no options: ${where}.`)

/** The member iterates, or polls, already. */
export function inUse(group: string): HermesError {
  return new HermesError(
    'BUSY',
    `This member of group '${group}' is in use already. Join once more with topic.group().`,
  )
}

export const sequencesOf = (claims: readonly Claim[]): number[] => claims.map(({ sequence }) => sequence)
