import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { HermesError } from '../../base/errors.js'
import type { Publisher } from '../../client/publisher.js'
import { openPlace } from '../place.js'
import { monotonicNs } from './clock.js'
import { dueOf, emptyEvent, fill, type MarketEvent, marketEvent, type Plan } from './event.js'
import { failureOf, type Role } from './role.js'
import type { InjectorOutcome, Task } from './task.js'

/** So many messages at most between two turns of the event loop, which acknowledgements and orders need. */
const messagesPerTurn = 256
/** With more time than this to the next message, the core is left to others; a timer wakes about a millisecond late. */
const idleNs = 3e6
const timerNs = 1.5e6
const lateNs = 1e6
/**
 * Injector, broker and subscriber each want a core. Where there are fewer, one that waits in a loop for the next message takes its core from another that this message
 * is for: then the injector sleeps for so long at a time, more precisely than a timer of the event loop can, and what is due goes out together.
 */
const napMs = 0.1
const busyProcesses = 3
/** The kernel wakes a thread as late as this by itself (timer slack, prctl(2)), 50 µs by default. */
const slackNs = 1000
const closeTimeoutMs = 30_000

/** Publishes the messages of the plan, each when it is due, or at once when that is past. */
export async function injector({ place, topic, plan, durability }: Extract<Task, { role: 'injector' }>): Promise<Role> {
  const hermes = await openPlace(place, true)
  const publisher = await hermes.topic(topic, { codec: marketEvent, create: false }).publisher({ durability })
  const ending = new AbortController()
  const stopping = new AbortController()
  const injection = new Injection(publisher, plan, ending.signal)
  monotonicNs()
  return {
    progress: () => injection.sent,
    async begin(begun) {
      let failure = await failureOf(() => injection.run(begun))
      let acknowledged = false
      failure ??= await failureOf(async () => {
        await publisher.flush(durability, { signal: stopping.signal })
        acknowledged = true
      })
      // What was abandoned is not waited for once more.
      const closing = await failureOf(() => hermes.close({ timeoutMs: acknowledged ? closeTimeoutMs : 0 }))
      if (acknowledged) failure ??= closing
      const { sent, late, seconds } = injection
      const outcome: InjectorOutcome = { sent, acknowledged, late, seconds }
      return failure === undefined || (stopping.signal.aborted && failure.code === 'ABORTED')
        ? outcome
        : { ...outcome, failure }
    },
    end: () => ending.abort(),
    stop: () => {
      ending.abort()
      stopping.abort()
    },
  }
}

/** A function that stops this thread for a moment. */
function preciseNap(): () => void {
  try {
    writeFileSync('/proc/self/timerslack_ns', String(slackNs))
  } catch {
    // Then each nap takes some 50 µs longer.
  }
  const cell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  return () => void Atomics.wait(cell, 0, 0, napMs)
}

class Injection {
  sent = 0
  late = 0
  readonly #publisher: Publisher<MarketEvent>
  readonly #plan: Plan
  readonly #signal: AbortSignal
  readonly #nap = availableParallelism() < busyProcesses ? preciseNap() : undefined
  #first = 0
  #last = 0

  constructor(publisher: Publisher<MarketEvent>, plan: Plan, signal: AbortSignal) {
    this.#publisher = publisher
    this.#plan = plan
    this.#signal = signal
  }

  get seconds(): number {
    return (this.#last - this.#first) / 1e9
  }

  async run(begun: number): Promise<void> {
    const event = emptyEvent()
    const { messages } = this.#plan
    this.#first = begun
    this.#last = begun
    while (this.sent < messages && !this.#signal.aborted) {
      const roomy = this.#burst(event, begun)
      if (!roomy) {
        await this.#publisher.ready({ signal: this.#signal }).catch((error) => this.#unlessEnded(error))
        continue
      }
      if (this.sent === messages) return
      const early = dueOf(this.sent, this.#plan, begun) - monotonicNs()
      if (early < idleNs) {
        await turn()
        this.#nap?.()
      } else await sleep((early - timerNs) / 1e6, undefined, { signal: this.#signal }).catch(() => undefined)
    }
  }

  /** Publishes what is due, a turn's worth at most. False if there is no room for more. */
  #burst(event: MarketEvent, begun: number): boolean {
    const plan = this.#plan
    const end = Math.min(plan.messages, this.sent + messagesPerTurn)
    while (this.sent < end) {
      fill(event, this.sent, plan, begun)
      const now = monotonicNs()
      if (now < event.due) return true
      try {
        const roomy = this.#publisher.publish(event)
        this.#last = now
        this.sent++
        if (now - event.due > lateNs) this.late++
        if (!roomy) return false
      } catch (error) {
        if (error instanceof HermesError && error.code === 'BACK_PRESSURE') return false
        throw error
      }
    }
    return true
  }

  #unlessEnded(error: unknown): void {
    if (!this.#signal.aborted) throw error
  }
}
