import type { Hermes } from '../client/hermes.js'
import { raw } from '../codec/raw.js'
import type { Damage } from '../model/recovery.js'
import { readPayload } from './message.js'
import type { Seen } from './oracle.js'

/** All that a topic holds, as subscribers and `verify()` see it. Read it while no publisher is at work. */
export interface WholeTopic {
  readonly seen: readonly Seen[]
  readonly voids: number
  readonly firstSequence: number
  readonly nextSequence: number
  /** As `verify()` found it. */
  readonly damage: readonly Damage[]
}

/** Reads a topic of test payloads (see `makePayload`) from its first message to its last, skipping damage. The codec must be `raw`. */
export async function readEverything(hermes: Hermes, name: string): Promise<WholeTopic> {
  const { voids, firstSequence, nextSequence, damage } = await hermes.verify(name)
  const seen: Seen[] = []
  const subscriber = await hermes
    .topic(name, { codec: raw, create: false })
    .subscriber({ from: 'earliest', onDamage: 'skip' })
  try {
    while (subscriber.poll((payload, { sequence }) => seen.push({ sequence, id: readPayload(payload) }), 4096) > 0);
  } finally {
    await subscriber.close()
  }
  return { seen, voids, firstSequence, nextSequence, damage }
}
