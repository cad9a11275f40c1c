/**
 * What a subscriber lets the broker send ahead, in bytes of frames. Credit goes back in quarters of the window, as a packet for every read would cost
 * more than the read. No frame takes more than half of the window, so the broker never has too little for the next one.
 */
export class Credit {
  /** What may be under way or unread at once; 0 until the topic is known. */
  window = 0
  /** Up to where in the buffer credit was given back. */
  #credited = 0
  #owed = 0

  /** Whether so much was read up to `offset` that it should be told. */
  isDue(offset: number): boolean {
    return offset - this.#credited > this.window / 4
  }

  /** Everything up to `offset` was read. @returns how much to give back now, or 0 */
  read(offset: number): number {
    const bytes = offset - this.#credited
    this.#credited = offset
    return this.free(bytes)
  }

  /** So many bytes take no room any more. @returns how much to give back now, or 0 */
  free(bytes: number): number {
    this.#owed += bytes
    if (this.#owed < this.window / 4) return 0
    const due = this.#owed
    this.#owed = 0
    return due
  }

  /** What is unread stands from `offset` on, from now on; nothing before it is owed. */
  moveTo(offset: number): void {
    this.#credited = offset
  }

  /** A new connection, where `unread` bytes from `offset` on are still here. @returns what the broker may send */
  begin(offset: number, unread: number): number {
    this.#credited = offset
    this.#owed = 0
    return Math.max(0, this.window - unread)
  }
}
