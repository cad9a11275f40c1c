/** Sent for one connection in one go, in bytes of frames: then others have their turn. */
const turnBytes = 256 * 1024
/** To send anything, or to look for it in vain, is as much work as to send so many bytes. */
const sendingBytes = 4096
const lookingBytes = 256

/** A channel with something to send. */
export interface Delivering {
  /** Sends one run. Returns how much work it was, in bytes; 0 if there is nothing to send, or no credit for it. */
  deliver(): number
}

/** The channels of one connection take turns, run by run: a quiet topic does not wait for one that has much to catch up. */
export class Deliveries {
  readonly #hasRoom: () => boolean
  readonly #later: () => void
  /** In the order of their turns. */
  readonly #ready = new Set<Delivering>()
  #running = false
  #runs = 0
  #waiting = false

  /**
   * @param hasRoom whether more may be written
   * @param later   asks for `run` to be called when others have had their turn
   */
  constructor(hasRoom: () => boolean, later: () => void) {
    this.#hasRoom = hasRoom
    this.#later = later
  }

  /** There may be something to send for it, in the connection's next turn. */
  add(channel: Delivering): void {
    this.#ready.add(channel)
  }

  /** How often anything was sent. */
  get runs(): number {
    return this.#runs
  }

  /** Whether a turn would be of use. */
  get isReady(): boolean {
    return this.#ready.size > 0 && !this.#waiting && !this.#running
  }

  remove(channel: Delivering): void {
    this.#ready.delete(channel)
  }

  /** In a turn of the connection's. */
  run(): void {
    // (a write may call back at once)
    if (this.#running) return
    this.#waiting = false
    this.#running = true
    let work = 0
    try {
      // A set hands out what is added behind.
      for (const channel of this.#ready) {
        if (!this.#hasRoom()) break
        if (work >= turnBytes) {
          this.#waiting = true
          this.#later()
          break
        }
        this.#ready.delete(channel)
        const bytes = channel.deliver()
        if (bytes > 0) {
          this.#runs++
          work += Math.max(bytes, sendingBytes)
          this.#ready.add(channel)
        } else {
          work += lookingBytes
        }
      }
    } finally {
      this.#running = false
    }
  }
}
