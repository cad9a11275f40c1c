import { packetType } from '../wire/packet.js'

/** The clock is looked at after so many packets that are little work. */
const packetsPerLook = 8
/** After a packet of so many bytes it is looked at in any case. */
const largeBytes = 16 * 1024

/** Tells when a client's turn is over, without asking the clock for each packet. */
export class Pace {
  #until = 0
  #sinceLook = 0

  /** A turn begins that is to last until about `until` (of `performance.now()`). */
  begin(until: number): void {
    this.#until = until
    this.#sinceLook = 0
  }

  /** A packet was worked on. What is much work has the clock looked at each time. */
  isOver(type: number, size: number): boolean {
    if ((type === packetType.credit || type === packetType.publish) && size < largeBytes) {
      if (++this.#sinceLook < packetsPerLook) return false
    }
    this.#sinceLook = 0
    return performance.now() >= this.#until
  }
}
