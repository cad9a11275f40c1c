import { onAbort } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { emitWarning } from '../base/node.js'
import { checkInteger, checkOptions, invalid, isSignal, show } from '../base/options.js'
import type { Job } from './job.js'
import { Lanes } from './lanes.js'

export interface HandleOptions<Out> {
  /** Handlers at a time: 1 to 10,000. Default 1. The messages of one key, and those of an exclusive group, are handled one after the other all the same. */
  readonly concurrency?: number
  /** How long a handler may take: its message is returned then, and its `context.signal` fires. 1 to 86,400,000 ms. No limit unless given. */
  readonly handlerTimeoutMs?: number
  /** Ends `run`: no message is taken any more. */
  readonly signal?: AbortSignal
  /** How long handlers that are under way may go on after that; then their messages are returned. 0 to 3,600,000 ms. Default 30,000. */
  readonly graceMs?: number
  /** Called for each handler that failed or was too late, and for each acknowledgement that was (`LEASE_LOST`). Default: a warning of the process. */
  readonly onError?: (error: unknown, job: Job<Out>) => void
}

export type JobRunner<Out> = (job: Job<Out>, context: { readonly signal: AbortSignal }) => unknown

/** What takes jobs until the signal fires. */
export interface JobSource<Out> {
  jobs(signal: AbortSignal): AsyncIterable<Job<Out>>
}

/** `group.run()`. */
export async function runHandlers<Out>(
  source: JobSource<Out>,
  topic: string,
  group: string,
  handler: JobRunner<Out>,
  options: HandleOptions<Out>,
): Promise<void> {
  checkOptions('run()', options, ['concurrency', 'handlerTimeoutMs', 'signal', 'graceMs', 'onError'])
  const { concurrency = 1, handlerTimeoutMs, signal, graceMs = 30_000 } = options
  checkInteger('concurrency', concurrency, 1, 10_000)
  if (handlerTimeoutMs !== undefined) checkInteger('handlerTimeoutMs', handlerTimeoutMs, 1, 86_400_000)
  checkInteger('graceMs', graceMs, 0, 3_600_000)
  if (typeof handler !== 'function') throw invalid('run() takes a handler function first.')
  if (signal !== undefined && !isSignal(signal)) throw invalid(`'signal' must be an AbortSignal, not ${show(signal)}.`)
  const { onError = warn(topic, group) } = options
  if (typeof onError !== 'function') throw invalid("'onError' must be a function.")

  const running = new Set<Promise<void>>()
  const ended = new AbortController()
  const taking = AbortSignal.any(signal === undefined ? [ended.signal] : [ended.signal, signal])
  const giveUp = new AbortController()
  const lanes = new Lanes<Out>()
  const begin = (job: Job<Out>) => {
    const one: Promise<void> = handleOne(job, handler, handlerTimeoutMs, giveUp.signal, onError).finally(() => {
      running.delete(one)
      const next = lanes.after(job)
      if (next !== undefined) begin(next)
    })
    running.add(one)
  }
  try {
    let { turn } = lanes
    for await (const job of source.jobs(taking)) {
      if (taking.aborted) {
        // (one that cannot be given back any more is with another member)
        await job.release().catch(() => undefined)
        break
      }
      if (lanes.enter(job, turn)) begin(job)
      while (running.size >= concurrency) await Promise.race(running)
      turn = lanes.turn
    }
  } finally {
    ended.abort()
    lanes.close()
    if (running.size > 0) {
      let timer: ReturnType<typeof setTimeout> | undefined
      const over = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, graceMs)
      })
      await Promise.race([Promise.all(running), over])
      clearTimeout(timer)
      giveUp.abort()
      await Promise.all(running)
    }
  }
}

async function handleOne<Out>(
  job: Job<Out>,
  handler: JobRunner<Out>,
  timeoutMs: number | undefined,
  giveUp: AbortSignal,
  onError: (error: unknown, job: Job<Out>) => void,
): Promise<void> {
  const context = new AbortController()
  const give = (error: HermesError) => {
    failed?.(error)
    context.abort(error)
  }
  let failed: ((error: unknown) => void) | undefined
  const late = new Promise<never>((_, reject) => {
    failed = reject
  })
  late.catch(() => undefined)
  const tooLong = () =>
    give(
      new HermesError('TIMED_OUT', `The handler of message ${job.sequence} took longer than ${timeoutMs} ms.`, {
        details: { sequence: job.sequence },
      }),
    )
  const stopped = () =>
    give(
      new HermesError('ABORTED', `The handler of message ${job.sequence} had not ended when run() was to end.`, {
        details: { sequence: job.sequence },
      }),
    )
  const timer = timeoutMs === undefined ? undefined : setTimeout(tooLong, timeoutMs)
  if (giveUp.aborted) stopped()
  // (one listener for all handlers: Node warns of a leak beyond ten)
  const forget = giveUp.aborted ? undefined : onAbort(giveUp, stopped)
  try {
    await Promise.race([(async () => handler(job, { signal: context.signal }))(), late])
    if (!job.isSettled) await job.ack()
  } catch (error) {
    tell(onError, error, job)
    if (!job.isSettled) await job.nack().catch((second: unknown) => tell(onError, second, job))
  } finally {
    clearTimeout(timer)
    forget?.()
  }
}

/** What the callback throws is its own affair; it must not end the others' work. */
function tell<Out>(onError: (error: unknown, job: Job<Out>) => void, error: unknown, job: Job<Out>): void {
  try {
    onError(error, job)
  } catch (second) {
    emitWarning(`An onError callback threw: ${String(second)}`, 'HERMES_HANDLER')
  }
}

function warn(topic: string, group: string) {
  return (error: unknown, job: { readonly sequence: number; readonly deliveries: number }) => {
    const what = error instanceof Error ? error.message : String(error)
    emitWarning(
      `Group '${group}' of topic '${topic}': message ${job.sequence} was not handled (delivery ${job.deliveries}): ${what}`,
      'HERMES_HANDLER',
    )
  }
}
