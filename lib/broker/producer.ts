import type { Run } from '../wire/packet.js'

/** Batches of one producer that are remembered; a client has fewer under way. */
const mostRuns = 1024

/** One remote publisher, for as long as it may come back. */
export class Producer {
  readonly id: string
  readonly slot: number
  /** The name of the access entry of the client that opened it last; `undefined` where authentication is not configured. */
  identity: string | undefined
  /** What the file says, or is to say when it is written next. */
  since: number
  last: bigint
  /** The highest number in the log. */
  stored: bigint
  /** The sequence of the message with that number; 0 = not known. */
  at = 0
  /** What is in the log beyond what the client has seen acknowledged, oldest first. */
  runs: Run[] = []
  connected = true
  /** When it left, by `performance.now()`: no clock that is set makes it older. */
  idleSinceMs = 0
  /** The file says whose the slot is. */
  isSaved = false
  /** The log ends before what the client had seen acknowledged. */
  hasLost = false

  constructor(id: string, slot: number, since: number, last: bigint) {
    this.id = id
    this.slot = slot
    this.since = since
    this.last = last
    this.stored = last
  }

  add(run: Run): void {
    this.stored = run.first + BigInt(run.count) - 1n
    this.at = run.sequence + run.count - 1
    this.runs.push(run)
    if (this.runs.length > 2 * mostRuns) this.runs.splice(0, mostRuns)
  }

  /** The client knows that everything up to `number` is stored. */
  trim(number: bigint): void {
    let known = 0
    for (const run of this.runs) {
      const last = run.first + BigInt(run.count) - 1n
      if (last > number) break
      if (last > this.last) this.last = last
      // (what the file tells of may lie before)
      this.since = Math.max(this.since, run.sequence + run.count)
      known++
    }
    if (known > 0) this.runs.splice(0, known)
  }

  /** Where messages that are stored already stand; sequence 0 = not known any more. */
  find(first: bigint, count: number): Run {
    const end = first + BigInt(count)
    const run = this.runs.find((one) => one.first <= first && end <= one.first + BigInt(one.count))
    return { first, count, sequence: run === undefined ? 0 : run.sequence + Number(first - run.first) }
  }
}
