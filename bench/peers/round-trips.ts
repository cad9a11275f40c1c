import { Latencies } from '../support/histogram.js'
import { type PeerArgs, PeerReceiver, PeerSource } from './peer.js'

/** Sends one message after the other, each when the answer to the one before is there. */
export class RoundTrips {
  /** The histogram, encoded. */
  readonly done: Promise<string>
  #finish: (encoded: string) => void = () => {}
  readonly #source = new PeerSource()
  readonly #total: number
  readonly #send: (message: Uint8Array) => void
  readonly #receiver: PeerReceiver
  readonly #latencies = new Latencies()
  readonly #warmup: number
  #sent = 0
  #begun = 0

  constructor({ warmup, count }: PeerArgs, send: (message: Uint8Array) => void) {
    this.#total = warmup + count
    this.#send = send
    this.#warmup = warmup
    this.#receiver = new PeerReceiver([], () => {})
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  next(): void {
    if (this.#sent === this.#total) {
      this.#finish(this.#latencies.encode())
      return
    }
    this.#begun = performance.now()
    this.#send(this.#source.message(++this.#sent))
  }

  answered(bytes: Uint8Array, offset: number, length: number): void {
    const ns = (performance.now() - this.#begun) * 1e6
    this.#receiver.take(bytes, offset, length)
    if (this.#sent > this.#warmup) this.#latencies.record(ns)
    this.next()
  }
}
