import { HermesError } from '../base/errors.js'
import { checkChoice, checkOptions, invalid } from '../base/options.js'
import { type Durability, durabilities, type From } from '../model/topic.js'
import type { PositionPort } from '../placement/consumer-port.js'

export interface CommitOptions {
  /** `written` (default): the position survives the end of any process. `synced`: also a loss of power. */
  readonly durability?: Durability
  /** Gives up the wait for `synced` with an `ABORTED` error: the position is noted all the same. */
  readonly signal?: AbortSignal
}

/** How far a durable subscription has come. */
export class Progress {
  readonly topic: string
  readonly name: string
  /** Whatever was handed out is committed when more is asked for. */
  readonly isAutomatic: boolean
  readonly #port: PositionPort

  constructor(topic: string, name: string, port: PositionPort, isAutomatic: boolean) {
    this.topic = topic
    this.name = name
    this.#port = port
    this.isAutomatic = isAutomatic
  }

  /** Why the position is no longer this subscriber's. */
  get lost(): HermesError | undefined {
    return this.#port.lost
  }

  /** @param rouse called once when `lost` is set */
  onLost(rouse: () => void): void {
    this.#port.onLost = rouse
  }

  /** Everything before this sequence is done. */
  get committed(): number {
    return this.#port.committed
  }

  /**
   * @param last    the sequence of the last message that is done; `undefined`: all before `position`
   * @param position where the subscriber is: what it was not handed can't be done
   */
  async commit(last: number | undefined, position: number, options: CommitOptions): Promise<void> {
    checkOptions('commit()', options, ['durability', 'signal'])
    const { durability = 'written', signal } = options
    checkChoice('durability', durability, durabilities)
    if (durability === 'synced') this.#port.checkSync?.()
    if (last !== undefined && !(Number.isSafeInteger(last) && last >= 1)) {
      throw invalid('commit() takes the sequence of the last message that is done.')
    }
    if (this.lost !== undefined) throw this.lost
    const next = last === undefined ? position : last + 1
    if (next > position) {
      throw new HermesError(
        'OUT_OF_RANGE',
        `Message ${last} of topic '${this.topic}' was not received yet: the subscriber is at ${position}.`,
        {
          details: { topic: this.topic, name: this.name, sequence: last, position },
        },
      )
    }
    if (next < this.#port.committed) {
      throw new HermesError(
        'OUT_OF_RANGE',
        `Durable subscription '${this.name}' of topic '${this.topic}' has committed up to message ${this.#port.committed - 1}, and does not go back: seek() reads earlier messages again without that; admin.resetGroup() sets it back, while no subscriber has it open.`,
        {
          details: { topic: this.topic, name: this.name, sequence: last ?? next - 1, committed: this.#port.committed },
        },
      )
    }
    await this.#port.commit(next)
    if (durability === 'synced') await this.#port.sync(signal)
  }

  /** Commits all before `position`, where that is done by itself. */
  commitHandled(position: number): void | Promise<void> {
    if (this.isAutomatic && position > this.#port.committed) return this.#port.commit(position)
  }

  noteLost(from: From, first: number): void {
    if (typeof from === 'number' && first > from) this.#port.noteLost(first - from)
  }

  close(): Promise<void> {
    return this.#port.close()
  }
}
