import { join } from 'node:path'
import { type ErrorCode, HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import { frameHeaderBytes, frameType, frameVersion } from '../../frame/frame.js'
import type { TopicSettings } from '../../model/topic.js'
import { native } from '../../native/addon.js'
import { callNative } from '../../native/error.js'
import { capacityFits, dataOffset, ringKinds, word } from '../../ring/layout.js'
import { participantStates } from '../../ring/participant.js'
import { RingMemory } from '../../ring/ring-memory.js'
import { type Directory, topicFolder } from '../../store/directory.js'
import { openTopicFile, readTopicFile, type TopicFile } from '../../store/topic-file.js'

/*
 * A topic of a `ring:` place is a byte ring in a file, docs/ring-layout.md, section 11. A message is one frame of the ring that is also a frame
 * of 32 bytes and payload, except that the ring's length stands where the magic would: so a subscriber walks it as it walks a log.
 */

/** Of a ring whose topic names no segmentBytes. */
const defaultRingBytes = 4 * 1024 * 1024
/** The entries of a ring's participants. */
export const producerEntry = 0
export const consumerEntry = 1
/** What a frame of the ring counts in its length besides the payload: the 32 bytes without the ring's own header of 8. */
export const extraBytes = frameHeaderBytes - 8
/** The label of a message: version, type and flags of the frame. */
export const dataLabel = frameVersion | (frameType.data << 8)
/** Two notes of the producer: { index, sequence low, sequence high }. The one whose index is the producer's tells the next sequence. */
export const notes = [264 >> 2, 280 >> 2] as const

const two32 = 0x1_0000_0000

const hints: Partial<Record<ErrorCode, string>> = {
  ACCESS_DENIED: 'Run as the owner of the place, or have it made with a wider `mode`.',
  DISK_FULL: 'Set a smaller segmentBytes, or enlarge /dev/shm (in Docker: --shm-size).',
  CORRUPT: 'Close the topic on all sides and remove its folder.',
}

function callTopic<T>(call: () => T, topic: string): T {
  return callNative(call, { topic }, hints)
}

export function unsupported(topic: string, what: string): HermesError {
  return new HermesError('UNSUPPORTED', `Topic '${topic}' is a ring: ${what}`, { details: { topic } })
}

/** The topic's description, made if need be. @throws HermesError `UNSUPPORTED` for settings that a ring can't have */
export async function describeRing(directory: Directory, name: string, wanted: TopicSettings): Promise<TopicFile> {
  const { segmentBytes } = wanted
  if (segmentBytes !== undefined && !capacityFits('bytes', segmentBytes)) {
    throw invalid(`'segmentBytes' of a ring is its capacity: a power of two, at most 2^30, not ${segmentBytes}.`)
  }
  if (wanted.create && (await readTopicFile(directory, name)) === undefined) {
    const capacity = segmentBytes ?? defaultRingBytes
    const maxPayloadBytes = wanted.maxPayloadBytes ?? Math.min(native.constants.defaultMaxPayload, capacity / 4)
    if (maxPayloadBytes > capacity / 4) {
      throw invalid(
        `'maxPayloadBytes' is a quarter of a ring at most: ${capacity / 4} of ${capacity} bytes. Set a larger 'segmentBytes'.`,
      )
    }
    try {
      return await openTopicFile(directory, name, { ...wanted, segmentBytes: capacity, maxPayloadBytes }, false, 1)
    } catch (error) {
      // Another process was faster, and chose other sizes than our defaults: that does not conflict with the caller's options.
      if (!(error instanceof HermesError) || error.code !== 'CONFIG_MISMATCH') throw error
    }
  }
  return openTopicFile(directory, name, wanted, false, 1)
}

/** Opens the topic's ring, and makes it if it isn't there. */
export function openRing(directory: Directory, file: TopicFile): RingMemory {
  const { name, codec, segmentBytes } = file
  const tag = new Uint8Array(8)
  if (/^[0-9a-f]{16}$/.test(codec.fingerprint)) tag.set(Buffer.from(codec.fingerprint, 'hex'))
  const shape = {
    kind: ringKinds.bytes,
    itemBytes: 0,
    capacity: segmentBytes,
    tag,
    startIndex: 0,
    participants: 2,
    parking: true,
    fileMode: directory.fileMode,
  }
  const path = join(topicFolder(directory, name), 'ring')
  const native_ = callTopic(() => new native.RingFile(path, shape), name)
  return RingMemory.inFile(native_, 'bytes', name)
}

/** Becomes the topic's publisher or its subscriber. @throws HermesError `EXCLUSIVE_HELD` */
export function takeRole(memory: RingMemory, topic: string, entry: number): void {
  try {
    callTopic(() => memory.file?.attach(entry), topic)
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'EXCLUSIVE_HELD') throw error
    const who = entry === producerEntry ? 'publisher' : 'subscriber'
    throw new HermesError(
      'EXCLUSIVE_HELD',
      `Topic '${topic}' is a ring and has a ${who} already: it goes from one to one. Close the other first (a killed one gives way at once), or use a log.`,
      { cause: error, details: { topic } },
    )
  }
}

/** What the next message will get, as of some moment during the call. */
export function nextSequenceOf(words: Int32Array): number {
  for (;;) {
    const index = Atomics.load(words, word.producerIndex)
    let next = 0
    for (const note of notes) {
      if (Atomics.load(words, note) !== index) continue
      next = Math.max(next, sequenceAt(words, note + 1))
    }
    // A producer that went on has perhaps written over the note meanwhile.
    if (Atomics.load(words, word.producerIndex) === index) return Math.max(next, 1)
  }
}

/** The u64 in two words. */
export function sequenceAt(words: Int32Array, at: number): number {
  return (Atomics.load(words, at + 1) >>> 0) * two32 + (Atomics.load(words, at) >>> 0)
}

/** The sequence of the oldest message in the ring, or what the next one will get if there is none. */
export function firstSequenceOf(memory: RingMemory): number {
  const { words, capacity } = memory
  const mask = capacity - 1
  for (;;) {
    const consumed = Atomics.load(words, word.consumerIndex)
    const produced = Atomics.load(words, word.producerIndex)
    const next = nextSequenceOf(words)
    let at = consumed
    if (at !== produced && Atomics.load(words, (dataOffset + (at & mask)) >> 2) < 0) at += capacity - (at & mask)
    const first = at === produced ? next : sequenceAt(words, (dataOffset + (at & mask) + 8) >> 2)
    // Until the consumer gives a frame back, the producer does not overwrite it.
    if (Atomics.load(words, word.consumerIndex) === consumed) return first
  }
}

/** Whether the participant is dead by now, and its entry: the same for one death, another for the next. */
export function deathOf(memory: RingMemory, entry: number): { readonly dead: boolean; readonly mark: number } {
  const mark = Atomics.load(memory.words, word.participant + entry)
  return { dead: (mark & 3) === participantStates.dead, mark }
}

export function peerDied(topic: string, who: 'publisher' | 'subscriber'): HermesError {
  const what =
    who === 'publisher'
      ? 'What it had published was delivered. Go on, and you receive what a successor publishes.'
      : 'The ring is full of messages that were not consumed. A successor begins with them.'
  return new HermesError('PEER_DEAD', `The ${who} of topic '${topic}' died. ${what}`, { details: { topic } })
}
