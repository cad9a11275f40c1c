// The side of NestJS that has handlers: requests by a responder of each pattern, events by a group on each topic.
import { type CustomTransportStrategy, type MessageHandler, Server } from '@nestjs/microservices'
import { type Group, type Hermes, type Job, json, open } from 'hermes-mq'
import { lastValueFrom } from 'rxjs'

export interface HermesServerOptions {
  /** A directory, `shm:name` or `tcp://host:9000`. */
  readonly place: string
  /** The group that takes events: instances of one name share them, each name has all. */
  readonly name: string
  /** Handlers at a time, of one pattern. */
  readonly concurrency?: number
}

const events = json<unknown>()

export class HermesServer extends Server implements CustomTransportStrategy {
  readonly #options: HermesServerOptions
  readonly #stop = new AbortController()
  readonly #runs: Promise<void>[] = []
  #hermes: Hermes | undefined

  constructor(options: HermesServerOptions) {
    super()
    this.#options = options
  }

  async listen(callback: (error?: unknown) => void): Promise<void> {
    try {
      this.#hermes = await open(this.#options.place)
      for (const [pattern, handler] of this.messageHandlers) {
        if (handler.isEventHandler) await this.#takeEvents(this.#hermes, pattern, handler)
        else await this.#answer(this.#hermes, pattern, handler)
      }
      callback()
    } catch (error) {
      callback(error)
    }
  }

  /** Handlers that are under way may end first. */
  async close(): Promise<void> {
    this.#stop.abort()
    await Promise.all(this.#runs)
    await this.#hermes?.close()
  }

  unwrap<T>(): T {
    return this.#hermes as T
  }

  on(): never {
    throw new Error('Hermes has no events of a connection here: look at the logs of the application')
  }

  async #answer(hermes: Hermes, pattern: string, handler: MessageHandler): Promise<void> {
    const { concurrency = 16 } = this.#options
    await hermes.responder(pattern, (data, context) => this.#valueOf(handler, data, context), { concurrency })
  }

  async #takeEvents(hermes: Hermes, pattern: string, handler: MessageHandler): Promise<void> {
    const { name, concurrency = 16 } = this.#options
    const group: Group<unknown, unknown> = await hermes
      .topic(pattern, { codec: events })
      .group(name, { from: 'earliest', create: true })
    // NestJS may have several handlers for an event: they are a list, linked by `next`.
    const handle = async (job: Job<unknown>) => {
      for (
        let one: MessageHandler | undefined = handler;
        one !== undefined;
        one = one.next as MessageHandler | undefined
      )
        await this.#valueOf(one, job.value, job)
    }
    const onError = (error: unknown) => this.logger.error(`${pattern}: ${String(error)}`)
    this.#runs.push(group.run(handle, { concurrency, signal: this.#stop.signal, onError }).catch(onError))
  }

  /** The last value of what a handler returns. NestJS has errors as plain objects here: they become errors again. */
  async #valueOf(handler: MessageHandler, data: unknown, context: unknown): Promise<unknown> {
    try {
      return await lastValueFrom(this.transformToObservable(handler(data, context)), { defaultValue: null })
    } catch (error) {
      throw error instanceof Error ? error : new Error((error as { message?: string })?.message ?? String(error))
    }
  }
}
