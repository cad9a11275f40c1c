import { type Attributes, context, type Link, type SpanContext, SpanKind, trace } from '@opentelemetry/api'
import { invalid } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Handler } from '../client/handler.js'
import type { Job } from '../client/job.js'
import { attributesOf, batchCount, bodyBytes, endFailed, messageId } from './attributes.js'
import { parentFor, spanContextIn } from './context.js'
import { checkTracing, type TracingOptions, tracerOf } from './options.js'

export interface HandlingOptions extends TracingOptions {
  /** The group, or durable subscription, that the messages come through. */
  readonly group?: string | undefined
}

/** Links of a span: a batch has more messages than a trace can show. */
const mostLinks = 128

/** Runs `work` in a span of kind CONSUMER, which ends when it returns, or when its promise settles. */
function inSpan<R>(
  topic: string,
  options: HandlingOptions,
  attributes: Attributes,
  senders: readonly SpanContext[],
  work: () => R,
): R {
  const active = context.active()
  const parent = parentFor(active, senders.length === 1 ? senders[0] : undefined)
  const links: Link[] = senders.slice(0, mostLinks).map((sender) => ({ context: sender }))
  const span = tracerOf(options).startSpan(
    `process ${topic}`,
    { kind: SpanKind.CONSUMER, attributes: { ...attributesOf(topic, 'process', options.group), ...attributes }, links },
    parent,
  )
  let result: R
  try {
    result = context.with(trace.setSpan(parent, span), work)
  } catch (error) {
    endFailed(span, error)
    throw error
  }
  if (!(result instanceof Promise)) {
    span.end()
    return result
  }
  return result.then(
    (value: unknown) => {
      span.end()
      return value
    },
    (error: unknown) => {
      endFailed(span, error)
      throw error
    },
  ) as R
}

function checkHandling(what: string, topic: string, work: unknown, options: HandlingOptions): void {
  checkTopicName(topic)
  if (typeof work !== 'function') throw invalid(`${what} takes a function as its handler.`)
  checkTracing(what, options, ['group'])
}

const senderOf = (value: unknown, { contextField }: TracingOptions): SpanContext[] => {
  const sender = spanContextIn(value, contextField)
  return sender === undefined ? [] : [sender]
}

/**
 * A handler for `poll` that runs `handler` in a span for each message: kind `CONSUMER`, named `process <topic>`.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
 */
export function traceHandler<View>(
  topic: string,
  handler: Handler<View>,
  options: HandlingOptions = {},
): Handler<View> {
  checkHandling('traceHandler()', topic, handler, options)
  return (value, message) => {
    const attributes = { [messageId]: String(message.sequence), [bodyBytes]: message.payloadBytes }
    return inSpan(topic, options, attributes, senderOf(value, options), () => handler(value, message))
  }
}

/**
 * A handler for `group.run` that runs `handler` in a span for each job. It ends with the handler's promise.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
 */
export function traceJobs<Out, Context>(
  topic: string,
  handler: (job: Job<Out>, about: Context) => unknown,
  options: HandlingOptions = {},
): (job: Job<Out>, about: Context) => unknown {
  checkHandling('traceJobs()', topic, handler, options)
  return (job, about) =>
    inSpan(topic, options, { [messageId]: String(job.sequence) }, senderOf(job.value, options), () =>
      handler(job, about),
    )
}

/**
 * Runs `work` on messages that an iterator yielded, in one span for all of them, with a link to each one's context.
 *
 * @returns what `work` returns; the span ends with it, or with its promise
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`; and what `work` throws
 */
export function traceBatch<R>(
  topic: string,
  messages: readonly { readonly value: unknown; readonly sequence: number }[],
  work: () => R,
  options: HandlingOptions = {},
): R {
  checkHandling('traceBatch()', topic, work, options)
  if (!Array.isArray(messages)) throw invalid('traceBatch() takes an array of messages.')
  const [first] = messages as readonly { readonly value: unknown; readonly sequence: number }[]
  const attributes =
    messages.length === 1 && first !== undefined
      ? { [messageId]: String(first.sequence) }
      : { [batchCount]: messages.length, ...(first !== undefined && { 'hermes.first_sequence': first.sequence }) }
  const senders = messages.flatMap(({ value }) => senderOf(value, options))
  return inSpan(topic, options, attributes, senders, work)
}
