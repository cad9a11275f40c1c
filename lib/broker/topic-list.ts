/** The names of a directory's topics, for any number of clients that ask: they share what is read, as long as it is new enough. */
export class TopicList {
  readonly #read: () => Promise<string[]>
  #running: Promise<readonly string[]> | undefined
  /** For those who have asked since it began: what it reads may not have what they have just made. */
  #next: Promise<readonly string[]> | undefined

  constructor(read: () => Promise<string[]>) {
    this.#read = read
  }

  /** The names as they are when it is called, or later. */
  names(): Promise<readonly string[]> {
    if (this.#running === undefined) {
      this.#running = this.#read().finally(() => {
        this.#running = undefined
      })
      return this.#running
    }
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => {
        this.#next = undefined
        return this.names()
      })
    return this.#next
  }
}
