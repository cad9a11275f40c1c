import type { HermesError } from '../../base/errors.js'
import type { Claim } from '../consumer-port.js'
import type { StoredBatch } from './batches.js'
import type { Fetched } from './inbox.js'
import type { Fate, Run } from './ledger.js'
import type { TopicStream } from './stream.js'

/** A message that was claimed and can't be handed out. */
export interface Wrong {
  readonly claim: Claim
  readonly outcome: Fate
  readonly error?: HermesError
}

/** Reads what was claimed. */
export class RunReader {
  readonly #stream: TopicStream
  readonly #holding: (sequence: number, at: number) => Promise<StoredBatch | undefined>

  /** @param holding the batch that holds a sequence, tried until the cluster answers; `undefined`: retention has removed it */
  constructor(stream: TopicStream, holding: (sequence: number, at: number) => Promise<StoredBatch | undefined>) {
    this.#stream = stream
    this.#holding = holding
  }

  async read(run: Run): Promise<{ readonly found: Fetched[]; readonly wrong: Wrong[] }> {
    const found: Fetched[] = []
    const wrong: Wrong[] = []
    const { deliveries, number } = run
    const end = run.from + run.count
    for (let sequence = run.from, at = run.at; sequence < end; ) {
      const from = sequence
      const batch = await this.#holding(from, at)
      if (batch === undefined) {
        wrong.push({ claim: { sequence, deliveries, number }, outcome: 'lost' })
        sequence++
        continue
      }
      at = batch.at
      for (; sequence < Math.min(batch.next, end); sequence++) {
        const claim = { sequence, deliveries, number }
        const error = this.#damage(batch, sequence)
        if (batch.frameAt(sequence) < 0) wrong.push({ claim, outcome: 'done' })
        else if (error !== undefined) wrong.push({ claim, outcome: 'returned', error })
        else found.push({ sequence, batch, run })
      }
    }
    return { found, wrong }
  }

  #damage(batch: StoredBatch, sequence: number): HermesError | undefined {
    if (batch.frameAt(sequence) < 0) return undefined
    try {
      batch.check(sequence, this.#stream.topic, this.#stream.definition.maxPayloadBytes)
      return undefined
    } catch (error) {
      return error as HermesError
    }
  }
}
