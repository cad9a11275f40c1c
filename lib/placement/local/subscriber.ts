import { onAbort } from '../../base/abort.js'
import { pause } from '../../base/pause.js'
import { endRunAt } from '../../frame/bounds.js'
import type { From } from '../../model/topic.js'
import { native } from '../../native/addon.js'
import type { NativeLog } from '../../native/types.js'
import { LogCursor } from '../../store/log-cursor.js'
import type { SubscriberPort } from '../port.js'
import { lookTick, startLookTick } from './look-tick.js'

/**
 * A mask: one in 256 fetches that find nothing asks whether the control file is still the one of the topic, and the zeros are no page that was lost; so does the
 * first one of each half second, for those who poll seldom.
 */
const lookEvery = 255

const { claimTag } = native.constants

/**
 * So many fetches less one leave a claim alone: longer than a publisher that has its processor takes to write, as a rule. From then on all look into it: who
 * polls once a second passes a dead publisher's claim after some 17 seconds, who parks or polls often at once.
 */
const mostClaimLooks = 16

/** How often who waits for a sync looks whether there was one. */
const syncLookMs = 2

/**
 * Reads the mapped log in place. It is a cursor and has none, because `offset` and `sequence` are moved for each message that is read.
 */
export class LocalSubscriber extends LogCursor implements SubscriberPort {
  readonly #log: NativeLog
  /** Nothing from here on is handed out yet; set where only what is synced is. */
  #synced: number | undefined
  #emptyFetches = 0
  #lookedAt = lookTick
  #claimLooks = 0
  readonly #endTick: () => void

  constructor(topic: string, log: NativeLog, verify: boolean, from: From, upToSynced = false) {
    super(topic, log, verify)
    this.#log = log
    if (upToSynced) this.#synced = 1
    this.#endTick = startLookTick()
    try {
      this.seek(from)
    } catch (error) {
      // Else the topic would count as in use until the collector comes by.
      super.close()
      this.#endTick()
      throw error
    }
  }

  fetch(limit: number): number {
    if (this.#synced === undefined) return this.#fetchWritten(limit)
    if (this.sequence >= this.#synced) this.#synced = this.syncedSequence()
    if (this.sequence >= this.#synced) {
      if (this.#isTimeToLook()) this.check()
      return 0
    }
    const found = this.#fetchWritten(Math.min(limit, this.#synced - this.sequence))
    // (Voids take sequences, too.)
    return found === 0 ? 0 : endRunAt(this, { before: this.#synced, beforeNs: undefined })
  }

  #fetchWritten(limit: number): number {
    const { word = -1 } = this
    if (word === 0) {
      if (!this.#isTimeToLook()) return 0
      // Who polls and never parks learns this way, too, that nothing more will come.
      this.check()
    } else if ((word & 0xff) === claimTag && ++this.#claimLooks < mostClaimLooks) {
      // It will be there in some ten nanoseconds. A scan would find no more, and take its line from the publisher in the middle of its write.
      return 0
    }
    const messages = this.scan(limit)
    if (messages > 0) this.#claimLooks = 0
    if (this.begin !== this.offset) {
      // A message from a time on is awaited, and earlier ones were passed over.
      this.offset = this.begin
      this.sequence = this.beginSequence
    }
    return messages > 0 ? messages : this.#withoutMessages(limit)
  }

  #isTimeToLook(): boolean {
    if ((++this.#emptyFetches & lookEvery) !== 0 && this.#lookedAt === lookTick) return false
    this.#lookedAt = lookTick
    return true
  }

  /** What to do when there was none: follow the log to its next segment, or find out why it does not go on. */
  #withoutMessages(limit: number): number {
    // Only voids so far: take them as read.
    if (this.end > this.offset) this.advance()
    switch (this.stop) {
      case 'nothing':
        return 0
      case 'segment-end':
        return this.enterNext() ? this.#fetchWritten(limit) : 0
      case 'claim':
        this.lookIntoClaim()
        return 0
      case 'damage':
        throw this.damaged()
    }
  }

  async park(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.isClosed) return
    if (this.#synced !== undefined && this.nextSequence() > this.sequence) {
      // There is something that is not synced. The one who syncs wakes who waits for messages, and these are there.
      await pause(Math.min(timeoutMs, syncLookMs), signal)
      this.#emptyFetches = lookEvery
      return
    }
    const forget = signal && onAbort(signal, () => this.cancel())
    try {
      await this.wait(timeoutMs)
    } finally {
      forget?.()
      // The next one looks closely.
      this.#emptyFetches = lookEvery
      this.#claimLooks = mostClaimLooks
    }
  }

  skipDamage(): number {
    const before = this.sequence
    return this.passDamage() ? this.sequence - before : 0
  }

  override close(): void {
    if (this.isClosed) return
    super.close()
    this.#endTick()
    this.#log.close()
  }
}
