import { HermesError } from '../../base/errors.js'
import { type PositionOptions, type PositionPort, positionEnds } from '../consumer-port.js'
import type { GroupEntry } from './group-entry.js'
import { GroupMember } from './group-member.js'
import type { Ledger } from './ledger.js'
import type { TopicStream } from './stream.js'

/** How long the cluster may take to hear that a position is given back. */
const leaveMs = 5000

/** The position of a named subscription, in the entry of its name. */
export class NatsPosition implements PositionPort {
  committed = 1
  lost: HermesError | undefined
  onLost: (() => void) | undefined
  readonly #stream: TopicStream
  readonly #member: GroupMember
  #changing: Promise<unknown> = Promise.resolve()
  /** What is to be written next. */
  #wanted = 0
  /** Messages that retention had removed, and that are to be noted. */
  #removed = 0
  #isTaken = false
  #isClosed = false
  #isLooking = false
  readonly #told: { unsubscribe(): void }

  private constructor(stream: TopicStream, entry: GroupEntry, member: string, leaseMs: number) {
    this.#stream = stream
    this.#member = new GroupMember(entry, member, leaseMs, () => {
      this.#look()
    })
    this.#told = entry.told(() => this.#look())
  }

  /** REQUIRES: the entry was read, and is a durable subscription. @throws HermesError `EXCLUSIVE_HELD`, `POSITION_LOST` */
  static async take(
    stream: TopicStream,
    entry: GroupEntry,
    { member, leaseMs }: PositionOptions,
  ): Promise<NatsPosition> {
    const { writtenMs } = entry
    const foundMs = await entry.ageMs()
    const end = (await stream.tail()).next
    const { rules } = entry.ledger as Ledger
    const position = new NatsPosition(stream, entry, member, leaseMs ?? rules.leaseMs)
    let cut: { readonly from: number; readonly to: number } | undefined
    try {
      await position.#member.change((draft) => {
        const holder = draft.members[draft.active]
        // It writes some times per lease: by the servers' clocks it has not for so long. (One that has come meanwhile has just written.)
        const ageMs = entry.writtenMs === writtenMs ? foundMs : 0
        if (holder !== undefined && ageMs < draft.rules.leaseMs) throw held(entry, holder, draft.rules.leaseMs - ageMs)
        draft.members = {}
        draft.rules = { ...draft.rules, leaseMs: leaseMs ?? draft.rules.leaseMs }
        position.#member.enter(draft)
        draft.active = position.#member.id
        if (draft.next > end) {
          cut = { from: end, to: draft.next }
          draft.next = end
          draft.totals.cut++
        }
        position.committed = draft.next
        return true
      })
    } catch (error) {
      await position.close()
      throw error
    }
    position.#isTaken = true
    if (cut === undefined) return position
    await position.close()
    throw new HermesError(
      'POSITION_LOST',
      `Topic '${stream.topic}' has lost the messages ${cut.from} to ${cut.to - 1}, which subscription '${entry.name}' had reached, and will use these sequences again. Open it again: it goes on at ${cut.from}.`,
      { details: { topic: stream.topic, group: entry.name, ...cut } },
    )
  }

  async commit(sequence: number): Promise<void> {
    if (this.lost !== undefined) throw this.lost
    this.#wanted = Math.max(this.#wanted, sequence)
    await this.#queue()
  }

  /** One change at a time: what is wanted by then is written together. */
  #queue(): Promise<void> {
    const changed = this.#changing.then(() => this.#write())
    this.#changing = changed.catch(() => undefined)
    return changed
  }

  async #write(): Promise<void> {
    if (this.lost !== undefined) throw this.lost
    const [wanted, lost] = [this.#wanted, this.#removed]
    if (wanted <= this.committed && lost === 0 && !this.#member.isDue) return
    try {
      await this.#member.change((draft) => {
        if (!this.#member.isIn(draft)) throw this.#overtaken()
        if (wanted > draft.next) {
          draft.totals.settled += wanted - draft.next
          draft.next = wanted
        }
        draft.totals.lost += lost
        return true
      })
      this.#removed -= lost
      this.committed = Math.max(this.committed, wanted)
    } catch (error) {
      const known = (error as HermesError).code === 'NOT_FOUND' ? this.#deleted() : (error as HermesError)
      this.#ended(known)
      throw known
    }
  }

  #ended(error: HermesError): void {
    if (!positionEnds.has(error.code) || this.lost !== undefined) return
    this.lost = error
    this.onLost?.()
  }

  /** Whether the position still is this subscriber's. Others who change that tell; who misses it learns with the next tick. */
  #look(): void {
    if (!this.#isTaken || this.#isClosed || this.lost !== undefined || this.#isLooking) return
    this.#isLooking = true
    this.#changing = this.#changing
      .then(async () => {
        const { entry } = this.#member
        await entry.read()
        if (entry.ledger === undefined) this.#ended(this.#deleted())
        else if (!this.#member.isIn(entry.ledger)) this.#ended(this.#overtaken())
        else if (this.#member.isDue) await this.#write()
      })
      // (what the cluster does not answer is asked with the next tick)
      .catch(() => undefined)
      .finally(() => {
        this.#isLooking = false
      })
  }

  #deleted(): HermesError {
    const { topic, name } = this.#member.entry
    return new HermesError(
      'NOT_FOUND',
      `The durable subscription '${name}' of topic '${topic}' was deleted. Open it again, and it begins anew.`,
      { details: { topic, name } },
    )
  }

  #overtaken(): HermesError {
    const { topic, name } = this.#member.entry
    return new HermesError(
      'LEASE_LOST',
      `This subscriber no longer has the durable subscription '${name}' of topic '${topic}': it was reset, or another one has taken it over when its lease was over. Open it again, and it begins at the position as it is now.`,
      { details: { topic, name } },
    )
  }

  checkSync(): void {
    throw new HermesError(
      'UNSUPPORTED',
      `Durable subscription '${this.#member.entry.name}': what is committed is on a quorum of servers, which sync by their own setting 'sync_interval'. Leave 'synced' out, and set 'sync_interval: always' there.`,
      { details: { topic: this.#stream.topic } },
    )
  }

  async sync(): Promise<void> {
    this.checkSync()
  }

  noteLost(messages: number): void {
    this.#removed += messages
    this.#queue().catch(() => undefined)
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#told.unsubscribe()
    await this.#changing
    await this.#member.leave(leaveMs)
  }
}

function held({ topic, name }: GroupEntry, holder: Ledger['members'][string], leftMs: number): HermesError {
  const inMs = Math.ceil(leftMs)
  return new HermesError(
    'EXCLUSIVE_HELD',
    `Subscriber ${holder.name} has the durable subscription '${name}' of topic '${topic}'. Close it first, or use another name. If it was killed, it gives way when its lease is over: in ${inMs} ms.`,
    { details: { topic, name, holder: holder.name, leaseLeftMs: inMs } },
  )
}
