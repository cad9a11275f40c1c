import { join } from 'node:path'
import { type Directory, fromFs } from '../store/directory.js'
import { isDescribed, topicFolders } from '../store/topic-file.js'

/** Between two looks at the directory. */
const leastMs = 10

/**
 * The names of a directory's topics, for any number of clients that ask: they share what is read, and only folders that are new are
 * looked into.
 */
export class TopicList {
  readonly #directory: Directory
  /** Folders that are known to hold a topic. */
  #known = new Set<string>()
  #running: Promise<readonly string[]> | undefined
  /** For those who have asked since it began: what it reads may not have what they have just made. */
  #next: Promise<readonly string[]> | undefined

  constructor(directory: Directory) {
    this.#directory = directory
  }

  /** The names as they are when it is called, or later; sorted. @throws HermesError `IO_FAILED`, `NOT_FOUND` */
  names(): Promise<readonly string[]> {
    if (this.#running === undefined) {
      this.#running = this.#read().finally(() => {
        this.#running = undefined
      })
      return this.#running
    }
    this.#next ??= this.#running
      .catch(() => {})
      .then(() => new Promise((resolve) => setTimeout(resolve, leastMs)))
      .then(() => {
        this.#next = undefined
        return this.names()
      })
    return this.#next
  }

  async #read(): Promise<readonly string[]> {
    const folder = join(this.#directory.path, 'topics')
    try {
      const { names } = await topicFolders(folder)
      const described = new Set<string>()
      for (const name of names)
        if (this.#known.has(name) || (await isDescribed(this.#directory, name))) described.add(name)
      this.#known = described
      return [...described].sort()
    } catch (error) {
      throw fromFs(error, `list the topics in ${this.#directory.path}`)
    }
  }
}
