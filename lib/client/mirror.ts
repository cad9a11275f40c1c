import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkInteger, checkOptions, checkSignal } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { MirrorStatus } from '../model/mirror.js'
import type { TopicInfo, TopicSettings } from '../model/topic.js'
import { type Capabilities, requireAbility } from '../placement/capabilities.js'
import { type MirrorPlacement, type MirrorPort, mirrorOfItself } from '../placement/mirror-port.js'
import type { Placement, PublisherPort } from '../placement/port.js'
import { Bridge } from './bridge.js'

/** Options of `hermes.mirror()`. */
export interface MirrorTopicOptions {
  /** The name of the mirror. Default: that of the topic. */
  readonly as?: string
  /** Default true: go on for ever. False: end when what is there now is in the mirror. */
  readonly follow?: boolean
  /**
   * Of a topic in a directory: what publishers have left unsynced for so long is synced by the mirror, 1 to 3,600,000 ms, as nothing else leaves the machine. Default 20. A topic with an `exclusive`
   * publisher is mirrored as far as that one syncs.
   */
  readonly syncIntervalMs?: number
  /** Ends the mirroring, as `close()` does. */
  readonly signal?: AbortSignal
}

interface End {
  readonly name: string
  readonly place: string
  readonly transport: Placement
}

/** Copies a topic into another place, each message once, for as long as it is open. Made by `hermes.mirror()`. */
export class Mirror implements AsyncDisposable {
  /** Where it comes from and goes to. */
  readonly from: { readonly place: string; readonly topic: string }
  readonly to: { readonly place: string; readonly topic: string }
  /** Resolves when it has come to its end or was closed; rejects with what ended it. */
  readonly done: Promise<void>
  readonly #bridge: Bridge
  readonly #stop: AbortController
  readonly #closed = new Deferred<void>()

  private constructor(from: End, to: End, bridge: Bridge, stop: AbortController, release: () => Promise<void>) {
    this.from = { place: from.place, topic: from.name }
    this.to = { place: to.place, topic: to.name }
    this.#bridge = bridge
    this.#stop = stop
    this.done = this.#run(release)
    this.done.catch(() => {})
  }

  /** @internal @throws HermesError as `hermes.mirror()` */
  static async open(
    from: Omit<End, 'name'>,
    topic: string,
    to: Omit<End, 'name'>,
    options: MirrorTopicOptions,
  ): Promise<Mirror> {
    checkOptions('mirror()', options, ['as', 'follow', 'syncIntervalMs', 'signal'])
    const { as = topic, follow = true, syncIntervalMs = 20, signal } = options
    checkTopicName(topic)
    checkTopicName(as)
    checkBoolean('follow', follow)
    checkInteger('syncIntervalMs', syncIntervalMs, 1, 3_600_000)
    checkSignal(signal)
    const { capabilities } = from.transport
    requireAbility(`Mirroring topic '${topic}'`, capabilities.replay, { topic })
    requireAbility(`Mirroring topic '${topic}' to ${to.place}`, to.transport.capabilities.mirrors, { topic })
    if (as === topic && from.place === to.place) throw mirrorOfItself(topic)
    const info = await from.transport.info(topic, signal)
    const settings = settingsOf(topic, info)
    const stop = new AbortController()
    const forget = linked(signal, stop)
    let port: MirrorPort | undefined
    let syncing: PublisherPort | undefined
    try {
      const origin = { topic, createdMs: info.createdMs }
      const placement = to.transport as Placement & MirrorPlacement
      port = await placement.mirror(as, settings, { origin, signal: stop.signal })
      syncing = await syncerOf(from.transport, topic, settings, syncIntervalMs)
      const bridge = await Bridge.open(
        from.transport,
        { topic, settings, synced: capabilities.syncing === true },
        port,
        follow ? undefined : info.nextSequence,
        stop.signal,
      )
      const opened = port
      return new Mirror({ ...from, name: topic }, { ...to, name: as }, bridge, stop, async () => {
        forget()
        await syncing?.close()
        await opened.close()
      })
    } catch (error) {
      forget()
      await syncing?.close()
      await port?.close()
      throw error
    }
  }

  /** How far it is now. Asks nobody. */
  status(): MirrorStatus {
    return this.#bridge.status()
  }

  async #run(release: () => Promise<void>): Promise<void> {
    try {
      await this.#bridge.run()
    } catch (error) {
      const isStop = this.#stop.signal.aborted && error instanceof HermesError && error.code === 'ABORTED'
      if (!isStop) throw error
    } finally {
      this.#bridge.close()
      await release().finally(() => this.#closed.resolve())
    }
  }

  /** Ends it: what is in the mirror stays there, and another one goes on behind it. Idempotent. */
  async close(): Promise<void> {
    this.#stop.abort()
    await this.#closed.promise
  }

  /** Resolves once closed, for whatever reason. */
  closed(): Promise<void> {
    return this.#closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** What the mirror is made with. @throws HermesError `UNSUPPORTED` for a topic whose layout has grown */
function settingsOf(topic: string, { codec, history, segmentBytes, maxPayloadBytes }: TopicInfo): TopicSettings {
  if (history !== undefined) {
    throw new HermesError(
      'UNSUPPORTED',
      `Topic '${topic}' holds messages of ${history.length + 1} layouts, and a mirror has one. Copy it with \`hermes topics migrate\`, and mirror the copy.`,
      { details: { topic } },
    )
  }
  return { codec, segmentBytes, maxPayloadBytes, retention: undefined, lowWaterBytes: undefined, create: true }
}

/** Has the topic synced while it is mirrored. `undefined` where that is somebody else's business. */
async function syncerOf(
  transport: Placement,
  topic: string,
  settings: TopicSettings,
  syncIntervalMs: number,
): Promise<PublisherPort | undefined> {
  const { intervalSyncing }: Capabilities = transport.capabilities
  if (intervalSyncing !== true) return undefined
  try {
    return await transport.publisher(topic, { ...settings, create: false }, { exclusive: false, syncIntervalMs })
  } catch (error) {
    if (error instanceof HermesError && error.code === 'EXCLUSIVE_HELD') return undefined
    throw error
  }
}

function linked(signal: AbortSignal | undefined, stop: AbortController): () => void {
  if (signal === undefined) return () => {}
  const abort = () => stop.abort()
  if (signal.aborted) abort()
  signal.addEventListener('abort', abort, { once: true })
  return () => signal.removeEventListener('abort', abort)
}
