import type { ConsumerPort } from '../placement/consumer-port.js'

/** Messages of one claim, at most. */
export const mostClaim = 256
/** A member claims ahead what it handles in about this time, so that no message waits at a slow member while others have nothing to do. */
const aheadMs = 10

/** The last claim of a member: messages `next` to `count` (exclusive) were not handed out yet. */
export class Claimed {
  next = 0
  count = 0
  readonly #port: ConsumerPort
  /** How much to claim at once. */
  #ahead = 1
  #claimedAt = 0
  #claimedCount = 0

  constructor(port: ConsumerPort) {
    this.#port = port
  }

  /** How many were not handed out yet. */
  get left(): number {
    return this.count - this.next
  }

  /** How much is worth claiming at once, as quickly as messages are handled. */
  get ahead(): number {
    return this.#ahead
  }

  /** Claims up to `limit`. False: there is nothing. REQUIRES: all of the last claim was handed out. */
  claim(limit: number): boolean {
    const now = performance.now()
    this.#adapt(now)
    const most = Math.min(limit, mostClaim)
    if (most <= 0) return false
    const count = this.#port.claim(most)
    this.next = 0
    this.count = count
    this.#claimedAt = now
    this.#claimedCount = count
    return count > 0
  }

  /** How much to claim next time: what was handled of the last claim within `aheadMs`. */
  #adapt(now: number): void {
    if (this.#claimedCount === 0) return
    const tookMs = now - this.#claimedAt
    const fits = Math.floor((this.#claimedCount * aheadMs) / Math.max(tookMs, 0.001))
    this.#ahead = Math.max(1, Math.min(mostClaim, fits, 2 * this.#ahead))
    this.#claimedCount = 0
  }

  /** Messages that were not handed out go to the next member: they do not count as delivered. */
  release(): void {
    if (this.next < this.count) void this.#port.settleClaimed(this.next, this.count, 'released', 0)
    this.next = this.count
    this.#port.releaseAhead?.()
  }
}
