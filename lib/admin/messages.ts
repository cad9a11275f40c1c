import { Hermes } from '../client/hermes.js'
import type { Codec } from '../codec/codec.js'
import { msgpack } from '../codec/msgpack.js'
import { raw } from '../codec/raw.js'
import { regionOf } from '../codec/region.js'
import { structFromSchema } from '../codec/struct/struct.js'
import type { TopicInfo } from '../model/topic.js'
import { LocalPlacement } from '../placement/local/placement.js'
import type { Directory } from '../store/directory.js'

/** A message as it is shown. */
export interface ShownMessage {
  readonly sequence: number
  readonly timeMs: number
  /** Of its payload. */
  readonly bytes: number
  /** Text of JSON; of a topic whose codec only its programs know, its bytes in base64. Cut off behind 4,096 characters. */
  readonly value?: string
  /** Why it can't be decoded. */
  readonly error?: string
}

export const mostShown = 100
const mostCharacters = 4096

type AnyCodec = Codec<unknown, unknown, unknown>

/** Reads the last messages of topics, for people to see. It counts in no metric, and changes nothing. */
export class Messages {
  readonly #hermes: Hermes
  /** One look at a time for each topic, however many ask. */
  readonly #looking = new Map<string, Promise<readonly ShownMessage[]>>()

  constructor(directory: Directory) {
    this.#hermes = new Hermes(directory.path, new LocalPlacement(directory, false))
  }

  /** The last messages, oldest first; fewer, where sequences hold none. @throws HermesError `NOT_FOUND`, `DAMAGED`, … */
  last(topic: string, most: number): Promise<readonly ShownMessage[]> {
    const key = `${topic} ${most}`
    let looking = this.#looking.get(key)
    if (looking === undefined) {
      looking = this.#look(topic, most).finally(() => this.#looking.delete(key))
      this.#looking.set(key, looking)
    }
    return looking
  }

  async #look(topic: string, most: number): Promise<readonly ShownMessage[]> {
    const info = await this.#hermes.topic(topic, {}).info()
    const { firstSequence, nextSequence } = info
    if (firstSequence >= nextSequence) return []
    const { codec, write } = reading(info)
    const from = Math.max(firstSequence, nextSequence - most)
    // (What retention removes meanwhile is not missed.)
    const options = { from, create: false, onBehind: 'earliest' } as const
    await using subscriber = await this.#hermes.topic(topic, { codec }).subscriber(options)
    const shown: ShownMessage[] = []
    for (let looks = 0; looks < most && shown.length < most && subscriber.position < nextSequence; looks++) {
      subscriber.poll((bytes, { sequence, timestampNs }) => {
        const facts = { sequence, timeMs: Number(timestampNs / 1_000_000n), bytes: bytes.length }
        shown.push({ ...facts, ...shownValue(bytes, write) })
      }, most - shown.length)
    }
    return shown
  }
}

function shownValue(bytes: Uint8Array, write: (bytes: Uint8Array) => string): Pick<ShownMessage, 'value' | 'error'> {
  try {
    const value = write(bytes)
    return { value: value.length > mostCharacters ? `${value.slice(0, mostCharacters)}…` : value }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

/** Payloads as they are, whatever the topic's codec is, and how one of them is decoded. */
function reading({ codec: { name, fingerprint, schema } }: TopicInfo): {
  codec: Codec<Uint8Array>
  write: (bytes: Uint8Array) => string
} {
  const codec = { ...raw, name, fingerprint, schema }
  const utf8 = (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  // JSON is shown as it was written: a number of more digits than JavaScript keeps stays what it is.
  if (name === 'json') return { codec, write: utf8 }
  if (name === 'text') return { codec, write: (bytes) => JSON.stringify(utf8(bytes)) }
  const known = name === 'struct' ? structFromSchema(schema) : name === 'msgpack' ? msgpack : undefined
  if (known === undefined) return { codec, write: base64 }
  return {
    codec,
    write: (bytes) => JSON.stringify((known as AnyCodec).decode(regionOf(bytes), 0, bytes.length), plain),
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')
}

/** JSON has no text for big integers and bytes. */
function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  return value instanceof Uint8Array ? base64(value) : value
}
