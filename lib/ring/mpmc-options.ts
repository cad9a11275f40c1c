import { checkInteger, checkOptions } from '../base/options.js'
import type { Codec } from '../codec/codec.js'
import { maxParticipants } from './layout.js'
import { RingMemory } from './ring-memory.js'
import { checkCommon, codecOf, itemBytesOf, type RingCreateOptions, tagOf } from './settings.js'

export interface MpmcRingOptions<In, Out, View> extends RingCreateOptions {
  /** Turns values into items. Every value must take the same number of bytes. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** The size of an item in bytes. Default: the codec's. */
  readonly itemBytes?: number
  /** How many objects may be attached at once, in all threads and processes: 2 to 254. Default 64. */
  readonly participants?: number
}

export interface MpmcRingAttachOptions<In, Out, View> {
  /** The creator's codec. Another layout is refused. Default: raw bytes. */
  readonly codec?: Codec<In, Out, View>
  /** Refuse a ring whose items have another size in bytes. Default: the codec's, if it has one. */
  readonly itemBytes?: number
}

const createOptions = ['codec', 'itemBytes', 'participants', 'capacity', 'parking', 'startIndex', 'name'] as const

/** Makes the memory of a ring without participants. @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function createMpmc(options: MpmcRingOptions<never, unknown, unknown>): {
  readonly memory: RingMemory
  readonly codec: Codec<never, unknown, unknown>
} {
  checkOptions('MpmcRing.create()', options, createOptions)
  const codec = codecOf(options)
  const { participants = 64 } = options
  checkInteger('participants', participants, 2, maxParticipants)
  const memory = RingMemory.create({
    ...checkCommon(options),
    kind: 'mpmc',
    itemBytes: itemBytesOf(codec, options.itemBytes),
    capacity: options.capacity,
    tag: tagOf(codec),
    participants,
  })
  return { memory, codec }
}
