import { HermesError } from '../../base/errors.js'
import { defaultRules } from '../../model/group.js'
import { type Group, openGroup } from '../../store/group.js'
import type { GroupMember } from '../../store/group-member.js'
import { type PositionOptions, type PositionPort, positionEnds } from '../consumer-port.js'
import { positionLost } from '../group-check.js'
import { startOf, type TopicAt } from './consumer.js'
import { startLookTick } from './look-tick.js'

/** The position of a named subscription whose file is at hand. */
export class LocalPosition implements PositionPort {
  readonly #at: TopicAt
  readonly #group: Group
  readonly #member: GroupMember
  readonly #endLooks: () => void
  #lost: HermesError | undefined
  #closed = false
  onLost: (() => void) | undefined

  private constructor(at: TopicAt, group: Group, member: GroupMember) {
    this.#at = at
    this.#group = group
    this.#member = member
    this.#endLooks = startLookTick(() => this.#look())
  }

  /**
   * Takes the position. Owns `at.log` from then on, if it does not throw.
   *
   * @throws HermesError `EXCLUSIVE_HELD` while another subscriber has it; `POSITION_LOST` once after the log has lost what was committed; `CONFIG_MISMATCH` if
   *   the name is that of a group
   */
  static async take(at: TopicAt, name: string, options: PositionOptions): Promise<LocalPosition> {
    const { topic } = at
    const group = await openGroup(topic, at.folder, at.log, name, {
      ...defaultRules,
      ...(options.leaseMs === undefined ? {} : { leaseMs: options.leaseMs }),
      kind: 'durable',
      window: 0,
      upToSynced: false,
      start: startOf(at, options.from),
      settings: '{}',
      fileMode: at.fileMode,
    })
    try {
      if (group.kind !== 'durable') {
        throw new HermesError(
          'CONFIG_MISMATCH',
          `'${name}' is a group of topic '${topic}', of kind '${group.kind}', and no subscription: join it with topic.group(), or choose another name.`,
          { details: { topic, group: name, found: group.kind, wanted: 'durable' } },
        )
      }
      if (group.lost !== undefined) throw positionLost(topic, name, group.lost)
      const member = await group.join(options.member, options.leaseMs)
      try {
        member.activate()
      } catch (error) {
        const holder = group.describe().members.find(({ active }) => active)
        member.close()
        throw held(error, topic, name, holder?.pid)
      }
      return new LocalPosition(at, group, member)
    } catch (error) {
      group.close()
      throw error
    }
  }

  get committed(): number {
    return this.#member.committed
  }

  get lost(): HermesError | undefined {
    return this.#lost
  }

  /** Who waits for messages, and commits nothing, learns this way that he waits at a position that is no longer his. */
  #look(): void {
    if (this.#lost !== undefined || this.#closed) return
    try {
      this.#member.checkHeld()
    } catch (error) {
      // (that the topic was deleted or damaged is for the reader of its log to say)
      if (this.#noteLost(error) !== undefined) this.onLost?.()
    }
  }

  #noteLost(error: unknown): HermesError | undefined {
    if (!(error instanceof HermesError) || !positionEnds.has(error.code)) return undefined
    const { topic } = this.#at
    const { name } = this.#group
    this.#lost ??=
      error.code === 'NOT_FOUND'
        ? new HermesError(
            'NOT_FOUND',
            `Durable subscription '${name}' of topic '${topic}' was deleted while this subscriber had it open. Open it again: that makes it anew.`,
            { cause: error, details: { topic, name } },
          )
        : new HermesError(
            'LEASE_LOST',
            `This subscriber no longer has the durable subscription '${name}' of topic '${topic}': it was reset, or another subscriber has taken it over. Open it again, and it begins at the position as it is now.`,
            { cause: error, details: { topic, name } },
          )
    return this.#lost
  }

  commit(sequence: number): void {
    if (this.#lost !== undefined) throw this.#lost
    try {
      this.#member.commit(sequence)
    } catch (error) {
      throw this.#noteLost(error) ?? error
    }
  }

  sync(signal: AbortSignal | undefined): Promise<void> {
    return this.#group.sync(signal)
  }

  noteLost(messages: number): void {
    this.#member.noteLost(messages)
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#endLooks()
    this.#member.close()
    this.#group.close()
    this.#at.log.close()
  }
}

/** The owner of the position. */
function held(error: unknown, topic: string, name: string, pid: number | undefined): unknown {
  if (!(error instanceof HermesError) || error.code !== 'EXCLUSIVE_HELD') return error
  const who = pid === undefined ? 'Another subscriber' : `A subscriber in process ${pid}`
  return new HermesError(
    'EXCLUSIVE_HELD',
    `${who} has the durable subscription '${name}' of topic '${topic}'. Close it first, or use another name. A killed one gives way at once.`,
    { cause: error, details: { topic, name, ...(pid === undefined ? {} : { pids: [pid] }) } },
  )
}
