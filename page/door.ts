import { type Codec, type Hermes, msgpack, open, raw, structFromSchema, type TopicInfo } from 'hermes-mq'
import type { Marks, Shown } from './report.js'

/* The broker's door for WebSockets: the page is a client of the broker like any other. */

const mostShown = 20
/** A topic from which more than this comes in a tick is too fast to be read by people: what is between is passed over. */
const mostPerTick = 256
const tickMs = 250
const marksMs = 1000
const mostCharacters = 4096

export interface Watcher {
  messages(list: readonly Shown[]): void
  marks(of: Marks): void
}

export class Door {
  readonly url: string
  #hermes: Promise<Hermes> | undefined

  constructor(url: string) {
    this.url = url
  }

  /** Tells what comes into a topic, with the last messages first, until `signal` fires. @throws HermesError what reading fails with */
  async follow(topic: string, watcher: Watcher, signal: AbortSignal): Promise<void> {
    const hermes = await this.#connected()
    const info = await hermes.info(topic, { signal })
    const { codec, write } = readingOf(info)
    const from = Math.max(info.firstSequence, info.nextSequence - mostShown)
    const options = { from, create: false, onBehind: 'earliest', signal } as const
    await using subscriber = await hermes.topic(topic, { codec }).subscriber(options)
    const list: Shown[] = []
    watcher.marks(marksOf(info))
    watcher.messages(list)
    for (let askedAt = performance.now(); !signal.aborted; ) {
      const count = subscriber.poll((value, { sequence, timestampNs, payloadBytes }) => {
        list.push({ sequence, timeMs: Number(timestampNs / 1_000_000n), bytes: payloadBytes, ...textOf(value, write) })
      }, mostPerTick)
      if (count === mostPerTick) subscriber.seek('latest')
      list.splice(0, list.length - mostShown)
      if (count > 0) watcher.messages(list)
      if (performance.now() - askedAt >= marksMs) {
        askedAt = performance.now()
        watcher.marks(marksOf(await hermes.info(topic, { signal })))
      }
      await new Promise((resolve) => setTimeout(resolve, tickMs))
    }
  }

  #connected(): Promise<Hermes> {
    const connecting = this.#hermes ?? open(this.url)
    this.#hermes = connecting
    // (the next one tries again)
    connecting.catch(() => {
      this.#hermes = undefined
    })
    return connecting
  }
}

function marksOf({ firstSequence, watermarks }: TopicInfo): Marks {
  const { claimed, written, synced } = watermarks
  return { first: firstSequence, claimed: claimed ?? written, written, synced }
}

/** As the admin server shows values: text of JSON, and bytes in base64 where only the topic's programs know the codec. */
function readingOf({ codec: { name, fingerprint, schema } }: TopicInfo): {
  codec: Codec<unknown>
  write: (value: unknown) => string
} {
  const bytes = { ...raw, name, fingerprint, schema } as Codec<unknown>
  const utf8 = (value: unknown) => new TextDecoder('utf-8', { fatal: true }).decode(value as Uint8Array)
  if (name === 'json') return { codec: bytes, write: utf8 }
  if (name === 'text') return { codec: bytes, write: (value) => JSON.stringify(utf8(value)) }
  const known = name === 'struct' ? structFromSchema(schema) : name === 'msgpack' ? msgpack : undefined
  if (known === undefined) return { codec: bytes, write: (value) => base64(value as Uint8Array) }
  return { codec: known as unknown as Codec<unknown>, write: (value) => JSON.stringify(value, plain) }
}

function textOf(value: unknown, write: (value: unknown) => string): Pick<Shown, 'value' | 'error'> {
  try {
    const text = write(value)
    return { value: text.length > mostCharacters ? `${text.slice(0, mostCharacters)}…` : text }
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) }
  }
}

function base64(bytes: Uint8Array): string {
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''))
}

function plain(_key: string, value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString()
  return value instanceof Uint8Array ? base64(value) : value
}
