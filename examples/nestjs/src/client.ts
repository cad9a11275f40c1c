// The side of NestJS that asks: `send` by a requester of each pattern, `emit` by a publisher of each topic.
import { ClientProxy, type ReadPacket, type WritePacket } from '@nestjs/microservices'
import { type Hermes, json, open, type Publisher, type Requester } from 'hermes-mq'

const events = json<unknown>()

export class HermesClient extends ClientProxy {
  readonly #place: string
  #opening: Promise<Hermes> | undefined
  readonly #requesters = new Map<string, Promise<Requester<unknown, unknown>>>()
  readonly #publishers = new Map<string, Promise<Publisher<unknown>>>()

  constructor({ place }: { readonly place: string }) {
    super()
    this.#place = place
  }

  connect(): Promise<Hermes> {
    this.#opening ??= open(this.#place)
    return this.#opening
  }

  async close(): Promise<void> {
    const hermes = await this.#opening
    this.#opening = undefined
    this.#requesters.clear()
    this.#publishers.clear()
    await hermes?.close()
  }

  unwrap<T>(): T {
    return this.#opening as T
  }

  /** Returns what ends the wait: NestJS calls it when nobody subscribes to the reply any more. */
  protected publish({ pattern, data }: ReadPacket, callback: (packet: WritePacket) => void): () => void {
    const stop = new AbortController()
    this.#ask(this.normalizePattern(pattern), data, stop.signal).then(
      (response) => callback({ response, isDisposed: true }),
      (err) => callback({ err, isDisposed: true }),
    )
    return () => stop.abort()
  }

  async #ask(pattern: string, data: unknown, signal: AbortSignal): Promise<unknown> {
    const hermes = await this.connect()
    const opening = this.#requesters.get(pattern) ?? hermes.requester<unknown, unknown>(pattern)
    this.#requesters.set(pattern, opening)
    return (await opening).request(data, { signal })
  }

  protected async dispatchEvent<T>({ pattern, data }: ReadPacket): Promise<T> {
    const name = this.normalizePattern(pattern)
    const hermes = await this.connect()
    const opening = this.#publishers.get(name) ?? hermes.topic(name, { codec: events }).publisher()
    this.#publishers.set(name, opening)
    const publisher = await opening
    // The log has it when `publish` returns. False asks for a pause before the next one.
    if (!publisher.publish(data)) await publisher.ready()
    return undefined as T
  }
}
