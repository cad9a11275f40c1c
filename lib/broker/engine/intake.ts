import { native } from '../../native/addon.js'
import { intakeLayout, type NativeIntake } from '../../native/intake-types.js'
import type { Run } from '../../wire/packet.js'

/** Who is told of a batch that was stored. */
export type BatchTaken = (channel: number, run: Run, acked: bigint, flags: number, bytes: number) => void

/**
 * Has the addon take the PUBLISH packets of one connection that are as they should be: checked and appended in one native call for all that
 * arrived together. What it leaves comes as any packet does, so all that goes wrong is judged, and told, in one place.
 */
export class Intake {
  readonly #native: NativeIntake
  readonly #data: DataView
  readonly #attached = new Set<number>()

  private constructor(made: NativeIntake, scratch: ArrayBuffer) {
    this.#native = made
    this.#data = new DataView(scratch)
  }

  /** `undefined` where the addon has none of this version. */
  static make(): Intake | undefined {
    const made = native.Intake
    if (made === undefined || Object.entries(intakeLayout).some(([field, at]) => made.layout[field] !== at))
      return undefined
    const scratch = new ArrayBuffer(intakeLayout.size)
    return new Intake(new made(scratch), scratch)
  }

  /** @param attachTo attaches the channel's publisher, unless it is one that an intake can't serve: then it returns false */
  attach(channel: number, attachTo: (intake: NativeIntake) => boolean): void {
    if (attachTo(this.#native)) this.#attached.add(channel)
  }

  /** To be called before its topic lets go of it. */
  detach(channel: number): void {
    if (this.#attached.delete(channel)) this.#native.detach(channel)
  }

  detachAll(): void {
    for (const channel of this.#attached) this.#native.detach(channel)
    this.#attached.clear()
  }

  /** Something of the channel's producer was stored in another way. */
  noteStored(channel: number, stored: bigint): void {
    if (this.#attached.has(channel)) this.#native.setStored(channel, stored)
  }

  /** Takes packets from `at` on. Returns how many bytes they had; `taken` was called for each. */
  take(chunk: Buffer, at: number, taken: BatchTaken): number {
    if (this.#attached.size === 0) return 0
    const bytes = this.#native.take(chunk, at)
    const data = this.#data
    const count = bytes === 0 ? 0 : data.getUint32(intakeLayout.count, true)
    for (let index = 0; index < count; index++) {
      const entry = intakeLayout.taken + index * intakeLayout.takenBytes
      const run = {
        first: data.getBigUint64(entry + intakeLayout.first, true),
        count: data.getUint32(entry + intakeLayout.messages, true),
        sequence: data.getFloat64(entry + intakeLayout.sequence, true),
      }
      const acked = data.getBigUint64(entry + intakeLayout.acked, true)
      const flags = data.getUint32(entry + intakeLayout.flags, true)
      const body = data.getUint32(entry + intakeLayout.body, true)
      taken(data.getUint32(entry + intakeLayout.channel, true), run, acked, flags, body)
    }
    return bytes
  }
}
