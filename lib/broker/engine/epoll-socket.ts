import { outcome } from '../../native/reactor-types.js'
import type { LogCursor } from '../../store/log-cursor.js'
import { deliverHeadBytes, packetHeaderBytes } from '../../wire/packet.js'
import type { Delivery, EngineSocket, SocketHandler } from './engine.js'
import { errorName, type Reactor } from './reactor.js'

/** So much goes out at once even between `cork` and `uncork`: copying it, so that it can wait, would cost more than a call. */
const directBytes = 16 * 1024

/** Of a DELIVER in front of its frames. */
const deliverBytes = packetHeaderBytes + deliverHeadBytes

/** What to call once the bytes up to `at`, of all that were ever written, have gone. */
interface Awaited {
  readonly at: number
  readonly written: () => void
}

/** A connection of a native reactor. */
export class EpollSocket implements EngineSocket {
  readonly #reactor: Reactor
  readonly #key: number
  readonly #forget: () => void
  #handler: SocketHandler | undefined
  readonly certificateName = undefined
  receivedBytes = 0
  /** All that was written, also what waits. */
  #writtenBytes = 0
  #waiting = 0
  #corks = 0
  /** Something was written between `cork` and `uncork`, and waits for that. */
  #held = false
  /** The kernel has no room: the reactor tells when it has. */
  #blocked = false
  #paused = true
  #destroyed = false
  #ended = false
  /** It has failed: the handler is about to be told. */
  #failed = false
  #awaited: Awaited[] = []

  /** @param forget called once, when the connection is closed */
  constructor(reactor: Reactor, key: number, forget: () => void) {
    this.#reactor = reactor
    this.#key = key
    this.#forget = forget
  }

  get waitingBytes(): number {
    return this.#waiting
  }

  get sentBytes(): number {
    return this.#writtenBytes - this.#waiting
  }

  get isPaused(): boolean {
    return this.#paused
  }

  get isDestroyed(): boolean {
    return this.#destroyed
  }

  start(handler: SocketHandler): void {
    this.#handler = handler
    if (!this.#destroyed) this.resume()
  }

  /** It is to make room for another one. */
  drop(): void {
    if (this.#handler === undefined) this.destroy()
    else this.#handler.destroy()
  }

  /* ---- what the reactor tells ---- */

  canRead(): void {
    if (this.#destroyed || this.#paused) return
    const reactor = this.#reactor
    reactor.calls.receive(this.#key)
    switch (reactor.outcome) {
      case outcome.done: {
        const { bytes } = reactor
        this.receivedBytes += bytes
        this.#handler?.received(reactor.buffer.subarray(0, bytes))
        return
      }
      case outcome.ended: {
        const { isOver } = reactor
        this.#handler?.lost()
        // Who has said all is answered to the end, and then told that this was all.
        if (isOver) this.#closeSoon()
        else this.end()
        return
      }
      case outcome.failed:
        this.#fail('read')
    }
  }

  canWrite(): void {
    if (this.#destroyed) return
    const reactor = this.#reactor
    reactor.calls.flush(this.#key)
    const { bytes } = reactor
    const wasBlocked = this.#blocked
    this.#note('write')
    if (bytes > 0 && this.#blocked) this.#handler?.progressed?.()
    if (wasBlocked && !this.#blocked && !this.#failed) this.#handler?.drained()
  }

  /* ---- writing ---- */

  write(bytes: Uint8Array, written?: () => void): void {
    if (this.#destroyed || this.#failed || this.#ended) {
      if (written !== undefined) process.nextTick(written)
      return
    }
    const holds = this.#corks > 0 && bytes.length < directBytes
    this.#writtenBytes += bytes.length
    this.#held ||= holds
    if (written !== undefined) this.#awaited.push({ at: this.#writtenBytes, written })
    this.#reactor.calls.write(this.#key, bytes, holds || this.#blocked)
    this.#note('write', holds || this.#blocked)
  }

  deliver(cursor: LogCursor, { channel, epoch, nextSequence, mostMessages, mostBytes }: Delivery): number {
    if (this.#destroyed || this.#failed || this.#ended) return 0
    const holds = this.#corks > 0 || this.#blocked
    const key = this.#key
    const { calls } = this.#reactor
    const from = cursor.offset
    const isSent = cursor.sendBy((reader) =>
      calls.deliver(key, reader, channel, epoch, nextSequence, mostMessages, mostBytes, holds),
    )
    if (!isSent) return 0
    const bytes = deliverBytes + cursor.end - from
    this.#writtenBytes += bytes
    this.#held ||= holds
    // (what is much goes out at once also if it was to be held)
    this.#note('write', holds && this.#reactor.waiting >= bytes)
    return bytes
  }

  cork(): void {
    this.#corks++
  }

  uncork(): void {
    if (--this.#corks > 0 || !this.#held) return
    this.#held = false
    if (this.#blocked || this.#waiting === 0 || this.#destroyed) return
    this.#reactor.calls.flush(this.#key)
    this.#note('write')
  }

  /** Looks at what has become of the last call that could write. `holds`: it was to write nothing yet. */
  #note(doing: string, holds = false): void {
    const reactor = this.#reactor
    const reason = reactor.failure(doing)
    if (reason !== undefined) {
      this.#waiting = 0
      this.#fail(doing)
      return
    }
    this.#waiting = reactor.waiting
    if (!holds) this.#blocked = reactor.waiting > 0
    const isOver = reactor.isOver
    this.#tellWritten()
    if (isOver) this.#closeSoon()
  }

  /** Not before the present call returns: its caller does not expect to be told within it. */
  #closeSoon(): void {
    process.nextTick(() => this.destroy())
  }

  #tellWritten(): void {
    const gone = this.#writtenBytes - this.#waiting
    let first = this.#awaited[0]
    while (first !== undefined && first.at <= gone) {
      this.#awaited.shift()
      first.written()
      first = this.#awaited[0]
    }
  }

  /* ---- reading ---- */

  pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#reactor.calls.pause(this.#key)
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#reactor.calls.resume(this.#key)
    if (this.#reactor.outcome === outcome.failed) this.#fail('watch')
  }

  /* ---- endings ---- */

  end(): void {
    if (this.#ended || this.#destroyed || this.#failed) return
    this.#ended = true
    this.#reactor.calls.end(this.#key)
    this.#note('write')
  }

  /** Not before the present call returns: its caller does not expect to be told within it. */
  #fail(doing: string): void {
    if (this.#failed || this.#destroyed) return
    this.#failed = true
    const reason = this.#reactor.failure(doing)
    const code = errorName(this.#reactor.error)
    process.nextTick(() => {
      if (this.#destroyed) return
      this.#handler?.lost(reason, code)
      this.destroy()
    })
  }

  destroy(): void {
    if (this.#destroyed) return
    this.#destroyed = true
    this.#waiting = 0
    this.#paused = true
    this.#reactor.calls.remove(this.#key)
    process.nextTick(() => {
      // What they have lent is theirs again.
      for (const { written } of this.#awaited.splice(0)) written()
      this.#handler?.closed()
      this.#forget()
    })
  }
}
