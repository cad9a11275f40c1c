import { HermesError } from '../base/errors.js'
import { word } from './layout.js'
import type { RingMemory } from './ring-memory.js'

/** The states in the low two bits of a participant's entry; the rest is its generation. */
export const participantStates = { vacant: 0, attached: 1, closed: 2, dead: 3 } as const

export function stateOf(words: Int32Array, entry: number): number {
  return Atomics.load(words, word.participant + entry) & 3
}

/** Attaches to a free entry. Returns the state it had, or -1 if another participant is attached. */
export function attachEntry(words: Int32Array, entry: number): number {
  const at = word.participant + entry
  for (;;) {
    const seen = Atomics.load(words, at)
    if ((seen & 3) === participantStates.attached) return -1
    const next = ((seen + 4) & ~3) | participantStates.attached
    if (Atomics.compareExchange(words, at, seen, next) === seen) return seen & 3
  }
}

function leaveEntry(words: Int32Array, entry: number, state: number): boolean {
  const at = word.participant + entry
  const seen = Atomics.load(words, at)
  if ((seen & 3) !== participantStates.attached) return false
  return Atomics.compareExchange(words, at, seen, (seen & ~3) | state) === seen
}

export function closeEntry(words: Int32Array, entry: number): void {
  leaveEntry(words, entry, participantStates.closed)
}

/** Declares the participant at `entry` dead. The caller knows that its thread has ended. */
export function markDead(words: Int32Array, entry: number): boolean {
  return leaveEntry(words, entry, participantStates.dead)
}

/**
 * Takes a free entry of the ring, by the kernel's word where the ring is in a file. `unclean`: its last owner died, and may have left claims.
 *
 * @throws HermesError `TOO_MANY_PUBLISHERS`
 */
export function joinRing(memory: RingMemory): { readonly entry: number; readonly unclean: boolean } {
  const { file, participants, words } = memory
  if (file !== undefined) return memory.call(() => file.join())
  for (let entry = 0; entry < participants; entry++) {
    const before = attachEntry(words, entry)
    if (before >= 0) return { entry, unclean: before === participantStates.dead }
  }
  throw new HermesError(
    'TOO_MANY_PUBLISHERS',
    `All ${participants} participants of the ring are attached. Close one, evict one that died, or create the ring with more.`,
    { details: { participants } },
  )
}
