import { setImmediate as turn } from 'node:timers/promises'
import { HermesError } from '../../base/errors.js'
import type { Hermes } from '../../client/hermes.js'
import type { MessageView } from '../../client/message.js'
import type { Publisher } from '../../client/publisher.js'
import type { Subscriber } from '../../client/subscriber.js'
import { raw } from '../../codec/raw.js'
import { regionOf } from '../../codec/region.js'
import type { TopicInfo } from '../../model/topic.js'
import { at } from '../feed.js'
import type { Conversion } from './conversion.js'
import { type Mark, readMark, writeMark } from './mark.js'

/** Messages per poll. */
const pollLimit = 256
/** The event loop gets a turn this often, in ms: signals and progress need it. */
const turnMs = 20
/** How often it is noted how far the copy is, in ms: so much of it is compared again after a crash. */
const markMs = 1000
/** A publisher that was asked to stop waits so long. */
const stopTimeoutMs = 2000

type AnySubscriber = Subscriber<unknown, unknown>
type AnyPublisher = Publisher<unknown>

export interface CopyOptions {
  readonly from: { readonly hermes: Hermes; readonly info: TopicInfo }
  readonly to: { readonly hermes: Hermes; readonly topic: string; readonly settings: object }
  readonly conversion: Conversion
  /** Where the mark is kept. */
  readonly markPath: string
  readonly skipDamage: boolean
  readonly signal: AbortSignal
  onProgress(done: number, messages: number, total: number): void
}

export interface Copied {
  /** Messages that were copied now. */
  readonly copied: number
  /** It went on where an earlier one had ended. */
  readonly isResumed: boolean
  /** The next sequence of the old topic that is to be copied. */
  readonly nextSource: number
  readonly lastSequence: number
}

/**
 * Copies what the old topic holds now into the new one. Each message once: where a copy that was killed has ended, is told by what lies in the new topic
 * behind the last mark.
 */
export async function copyTopic(options: CopyOptions): Promise<Copied> {
  const { from, to, conversion, skipDamage, signal } = options
  const mark = await markOf(options)
  await tellHistory(options)
  const topic = to.hermes.topic(to.topic, { codec: conversion.writes, ...to.settings })
  // Exclusively: other publishers of the new topic publish before or after.
  const publisher = await topic.publisher({ exclusive: true, signal })
  const copy = new Copy(options, publisher, mark)
  try {
    const subscriber = await from.hermes
      .topic(from.info.name, { codec: conversion.reads, create: false })
      .subscriber({ from: mark?.source ?? 'earliest', onDamage: skipDamage ? 'skip' : 'error', signal })
    await copy.begin(subscriber, mark && (await written(options, mark.target)))
    await copy.run(subscriber)
  } catch (error) {
    if (!signal.aborted || !isAborted(error)) {
      // What was copied before it is noted, if that is possible: else the next run finds out by itself.
      await copy.note(true).catch(() => undefined)
      await publisher.close({ timeoutMs: stopTimeoutMs }).catch(() => undefined)
      throw error
    }
  }
  await copy.note(true)
  await publisher.close()
  const { copied, source, target } = copy
  return { copied, isResumed: mark !== undefined, nextSource: source, lastSequence: target - 1 }
}

function isAborted(error: unknown): boolean {
  return error instanceof HermesError && error.code === 'ABORTED'
}

/** What an earlier run has left; `undefined` for a topic that is to be made. @throws HermesError `CONFIG_MISMATCH` for one that is something else */
async function markOf({ from, to, conversion, markPath }: CopyOptions): Promise<Mark | undefined> {
  const mark = await readMark(markPath)
  const { topic } = to
  const isThere = (await to.hermes.topics()).includes(topic)
  const next = isThere ? (await to.hermes.info(topic)).nextSequence : 1
  const refuse = (reason: string, advice: string): never => {
    throw new HermesError('CONFIG_MISMATCH', `Topic '${topic}' ${reason}. ${advice}`, { details: { topic } })
  }
  if (mark === undefined) {
    if (next !== 1) refuse('has messages, and no migration made it', 'Name a topic that does not exist yet.')
    return undefined
  }
  const old = mark.from
  if (old.topic !== from.info.name || old.createdMs !== from.info.createdMs)
    refuse(`is made by a migration of topic '${old.topic}' of ${old.place}`, 'Name another one for this migration.')
  if (mark.plan !== conversion.plan)
    refuse(
      'was begun with other options, or the layout of the old topic has changed since',
      'Go on with the options that it was begun with, or name another topic.',
    )
  if (mark.target > next || (mark.isWhole && mark.target !== next))
    refuse(
      `holds messages up to ${next - 1}, and the migration ended with ${mark.target - 1}: others have published to it, or it was restored from a backup`,
      'The migration can no longer go on.',
    )
  return mark
}

/** A copy byte for byte has messages of all the layouts and versions that the old topic had: so the new one knows them, too. */
async function tellHistory({ from, to, conversion }: CopyOptions): Promise<void> {
  if (!conversion.isCopy) return
  for (const codec of from.info.history ?? []) {
    const topic = to.hermes.topic(to.topic, { ...to.settings, codec: { ...conversion.writes, ...codec } })
    await (await topic.publisher({ exclusive: true })).close()
  }
}

/** What the new topic holds from `target` on. */
async function written({ to, conversion, signal }: CopyOptions, target: number): Promise<AnySubscriber> {
  const { name, fingerprint, schema } = conversion.writes
  const codec = { ...raw, name, fingerprint, schema } as never
  return to.hermes
    .topic<unknown, unknown, unknown>(to.topic, { codec, create: false })
    .subscriber({ from: target, signal })
}

class Copy {
  copied = 0
  /** The next sequence to read. */
  source: number
  /** The next sequence of the new topic. */
  target: number
  readonly #options: CopyOptions
  readonly #publisher: AnyPublisher
  /** Source and target belong together. Not while it is looked for where an earlier copy has ended. */
  #isExact = false
  #isRoomy = true

  constructor(options: CopyOptions, publisher: AnyPublisher, mark: Mark | undefined) {
    this.#options = options
    this.#publisher = publisher
    this.source = mark?.source ?? 1
    this.target = mark?.target ?? 1
  }

  /** @param present what the new topic holds behind the mark of an earlier run */
  async begin(subscriber: AnySubscriber, present: AnySubscriber | undefined): Promise<void> {
    this.source = subscriber.position
    if (present !== undefined && !(await this.#passOver(subscriber, present))) return
    this.#isExact = true
    await this.note(false)
  }

  /** Notes how far it is, once what was copied up to here is on stable storage. */
  async note(isWhole: boolean): Promise<void> {
    if (!this.#isExact) return
    const { from, conversion, markPath } = this.#options
    const { source, target } = this
    await this.#publisher.flush('synced')
    await writeMark(markPath, {
      from: { place: from.hermes.place, topic: from.info.name, createdMs: from.info.createdMs },
      plan: conversion.plan,
      source,
      target,
      isWhole,
    })
  }

  /**
   * Passes over what lies in the new topic behind the mark, as the copy that was killed has put it there. False if it was stopped meanwhile.
   *
   * @throws HermesError `CONFIG_MISMATCH` if it is something else
   */
  async #passOver(subscriber: AnySubscriber, present: AnySubscriber): Promise<boolean> {
    const { conversion, to, signal } = this.#options
    const { nextSequence: end, maxPayloadBytes } = await to.hermes.info(to.topic)
    const scratch = regionOf(new Uint8Array(maxPayloadBytes))
    let expected: Uint8Array | undefined
    const read = (view: unknown, message: MessageView) => {
      const length = conversion.writes.encode(conversion.convert(view, message), scratch, 0, scratch.bytes.length)
      expected = scratch.bytes.subarray(0, length)
    }
    const compare = (bytes: unknown, { sequence }: MessageView) => {
      expected = undefined
      // (A poll may find sequences that hold no message.)
      for (let before = -1; expected === undefined && subscriber.position !== before; ) {
        before = subscriber.position
        subscriber.poll(read, 1)
      }
      if (expected === undefined || Buffer.compare(bytes as Uint8Array, expected) !== 0) {
        throw new HermesError(
          'CONFIG_MISMATCH',
          `Message ${sequence} of topic '${to.topic}' is not of this migration: others have published to it after it was interrupted. Name another topic, and begin again.`,
          { details: { topic: to.topic, sequence } },
        )
      }
    }
    while (present.position < end) {
      if (signal.aborted) return false
      const before = present.position
      if (present.poll(compare, pollLimit) === 0 && present.position === before) break
      await turn()
    }
    await present.close()
    this.source = subscriber.position
    this.target = end
    return true
  }

  async run(subscriber: AnySubscriber): Promise<void> {
    const { signal, from, onProgress } = this.#options
    const until = from.info.nextSequence
    const begun = this.source
    let [turned, noted] = [performance.now(), performance.now()]
    const handler = this.#handler()
    while (this.#isExact && subscriber.position < until && !signal.aborted) {
      const before = subscriber.position
      const polled = subscriber.poll(handler, Math.min(pollLimit, until - before))
      this.#reached(subscriber.position)
      if (polled === 0 && subscriber.position === before) break
      if (!this.#isRoomy) await this.#publisher.ready({ signal })
      this.#isRoomy = true
      const now = performance.now()
      if (now - turned < turnMs) continue
      onProgress(this.source - begun, this.copied, until - begun)
      await turn()
      turned = performance.now()
      if (turned - noted < markMs) continue
      await this.note(false)
      noted = performance.now()
    }
  }

  #reached(source: number): void {
    this.source = source
    if (this.copied > 0) this.target = this.#publisher.lastSequence + 1
  }

  #handler(): (view: unknown, message: MessageView) => void {
    const { conversion, from } = this.#options
    const publisher = this.#publisher
    return (view, message) => {
      try {
        if (!publisher.publish(conversion.convert(view, message))) this.#isRoomy = false
      } catch (error) {
        this.#reached(message.sequence)
        throw at(`message ${message.sequence} of '${from.info.name}'`, error)
      }
      this.copied++
    }
  }
}
