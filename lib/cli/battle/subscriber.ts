import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import type { Handler } from '../../client/handler.js'
import type { Subscriber } from '../../client/subscriber.js'
import { findTopic, openPlace } from '../place.js'
import { monotonicNs } from './clock.js'
import { emptyEvent, fill, type MarketEvent, marketEvent, same } from './event.js'
import { failureOf, type Role } from './role.js'
import { Tally } from './tally.js'
import type { BattleLatency, SubscriberOutcome, Task } from './task.js'

/** The event loop gets a turn this often while messages keep coming, in ms. */
const turnMs = 2

/** Takes all messages of the topic from now on, and holds those of the run against the plan. */
export async function subscriber(task: Extract<Task, { role: 'subscriber' }>): Promise<Role> {
  const { place, topic, plan, wait, retainBytes } = task
  const hermes = await openPlace(place, true)
  const isRing = place.startsWith('ring:')
  const isNew = !isRing && (await findTopic(hermes, topic)) === undefined
  const settings = isNew ? { retention: { bytes: retainBytes } } : {}
  // (Where it begins is the place's default: what comes from now on, and in a ring, what waits there.)
  const source = await hermes
    .topic(topic, { codec: marketEvent, ...settings })
    .subscriber({ wait, create: isNew || isRing })
  const tally = new Tally()
  const histogram = createHistogram()
  let expectedCount = Number.POSITIVE_INFINITY
  let isStopped = false
  let wake = new AbortController()
  let foreign = 0
  let wrong = 0
  monotonicNs()

  const take = async (begun: number) => {
    const expected = emptyEvent()
    let lastSequence = 0
    const handler: Handler<Readonly<MarketEvent>> = (event, { sequence }) => {
      const now = monotonicNs()
      const inSequence = sequence > lastSequence
      lastSequence = sequence
      if (event.run !== plan.run) {
        foreign++
        return
      }
      const { id } = event
      fill(expected, id, plan, begun)
      // (What is not as it was published is not delivered.)
      if (id >= plan.messages || !inSequence || !same(event, expected)) wrong++
      else if (tally.take(id) && id >= plan.warmUp) record(histogram, now - event.due)
    }
    let turned = performance.now()
    // What is in the topic behind the last one expected is looked at too: it may be a duplicate.
    let until: number | undefined
    const hasAll = () => {
      if (!tally.has(expectedCount)) return false
      until ??= source.position + source.lag
      return source.position >= until
    }
    while (!isStopped && !hasAll()) {
      if (source.poll(handler) > 0) {
        if (performance.now() - turned < turnMs) continue
        await turn()
      } else {
        await readyOrWoken(source, wake.signal)
        if (wake.signal.aborted) wake = new AbortController()
      }
      turned = performance.now()
    }
  }

  return {
    progress: () => tally.received,
    async begin(begun) {
      let failure = await failureOf(() => take(begun))
      failure ??= await failureOf(() => hermes.close())
      const { received, duplicates, outOfOrder } = tally
      const outcome: SubscriberOutcome = {
        received,
        duplicates,
        outOfOrder,
        wrong,
        foreign,
        latencyNs: latencyOf(histogram),
      }
      return failure === undefined ? outcome : { ...outcome, failure }
    },
    end(count) {
      expectedCount = count
      wake.abort()
    },
    stop() {
      isStopped = true
      wake.abort()
    },
  }
}

async function readyOrWoken(source: Subscriber<unknown, unknown>, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  try {
    await source.ready({ signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

function record(histogram: RecordableHistogram, ns: number): void {
  histogram.record(Math.max(1, Math.round(ns)))
}

function latencyOf(histogram: RecordableHistogram): BattleLatency | null {
  if (histogram.count === 0) return null
  const at = (percentile: number) => histogram.percentile(percentile)
  const { count, min, mean, max } = histogram
  return { count, min, mean: Math.round(mean), p50: at(50), p99: at(99), p999: at(99.9), max }
}
