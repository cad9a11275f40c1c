import { processWords } from '../base/node.js'
import { checkInteger, checkOptions, checkSignal } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import { requireAbility } from '../placement/capabilities.js'
import type { LeasePlacement, LeasePort } from '../placement/lease-port.js'
import type { Placement } from '../placement/port.js'

/** Options of `hermes.lead()`. */
export interface LeadOptions {
  /** Ends the waiting, and the leadership. */
  readonly signal?: AbortSignal | undefined
  /** How long a leader that is not heard of is waited for, in ms: 1000 to 3,600,000. Default 10,000. */
  readonly leaseMs?: number
}

/** Being the leader of a name, of which there is one at a time in a cluster. Made by `hermes.lead()`. */
export class Leadership implements AsyncDisposable {
  readonly name: string
  /** Grows from leader to leader. `publisher({ leadership })` has the cluster refuse those before. */
  readonly revision: number
  /** Fires when it has ended: by `release()`, or as it could not be kept. Then stop what only the leader may do: another one follows within a third of `leaseMs`. */
  readonly signal: AbortSignal
  readonly #port: LeasePort

  private constructor(name: string, port: LeasePort) {
    this.name = name
    this.#port = port
    this.revision = port.revision
    this.signal = port.ended
  }

  /** @internal */
  static async take(place: string, transport: Placement, name: string, options: LeadOptions): Promise<Leadership> {
    checkOptions('lead()', options, ['signal', 'leaseMs'])
    const { signal, leaseMs = 10_000 } = options
    checkTopicName(name, 'leadership')
    checkSignal(signal)
    checkInteger('leaseMs', leaseMs, 1000, 3_600_000)
    requireAbility(`lead() in ${place}`, transport.capabilities.leases, { name })
    const holder = processWords()
    const port = await (transport as Placement & LeasePlacement).lease(name, { leaseMs, holder, signal })
    const leadership = new Leadership(name, port)
    const release = () => void leadership.release()
    if (signal?.aborted) release()
    signal?.addEventListener('abort', release, { once: true })
    leadership.signal.addEventListener('abort', () => signal?.removeEventListener('abort', release), { once: true })
    return leadership
  }

  /** Ends it, and lets the next one follow at once. Idempotent. */
  release(): Promise<void> {
    return this.#port.release()
  }

  /** As `release()`. */
  close(): Promise<void> {
    return this.release()
  }

  /** Resolves once it has ended, for whatever reason. */
  closed(): Promise<void> {
    if (this.signal.aborted) return Promise.resolve()
    return new Promise((resolve) => this.signal.addEventListener('abort', () => resolve(), { once: true }))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release()
  }
}
