import { context, type Span, SpanKind, type Tracer, trace } from '@opentelemetry/api'
import { invalid } from '../base/options.js'
import { Publisher, type PublishOptions } from '../client/publisher.js'
import type { Receipt } from '../client/receipt.js'
import { attributesOf, batchCount, endFailed, messageId } from './attributes.js'
import { traceparentOf } from './context.js'
import { checkTracing, type TracingOptions, tracerOf } from './options.js'

/** Publishes with a span for each call. Made by `tracePublisher()`; the publisher itself is as it was, and need not be closed twice. */
export class TracedPublisher<In> {
  readonly publisher: Publisher<In>
  readonly #tracer: Tracer
  readonly #field: string | undefined

  /** @internal */
  constructor(publisher: Publisher<In>, options: TracingOptions) {
    this.publisher = publisher
    this.#tracer = tracerOf(options)
    this.#field = options.contextField
  }

  /** As `Publisher.publish`. The message's sequence is in the span where it is known by then: in local places. */
  publish(value: In): boolean {
    const { publisher } = this
    const span = this.#start()
    const before = publisher.lastSequence
    try {
      const roomy = publisher.publish(this.#with(value, span))
      // (through a broker it rises when acknowledgements come, which is never within a call)
      if (publisher.lastSequence !== before) span.setAttribute(messageId, String(publisher.lastSequence))
      span.end()
      return roomy
    } catch (error) {
      endFailed(span, error)
      throw error
    }
  }

  /** As `Publisher.publishBatch`: one span for all. Each value gets its context. */
  publishBatch(values: Iterable<In>): boolean {
    const span = this.#start()
    try {
      const list = Array.isArray(values) || typeof values === 'string' ? values : [...values]
      const filled =
        typeof list === 'string' || this.#field === undefined ? list : list.map((one) => this.#with(one, span))
      const roomy = this.publisher.publishBatch(filled as Iterable<In>)
      span.setAttribute(batchCount, list.length)
      span.end()
      return roomy
    } catch (error) {
      endFailed(span, error)
      throw error
    }
  }

  /** As `Publisher.publishAsync`: the span ends with the acknowledgement, and has the sequence. */
  async publishAsync(value: In, options?: PublishOptions): Promise<Receipt> {
    const span = this.#start()
    try {
      const receipt = await this.publisher.publishAsync(this.#with(value, span), options)
      span.setAttribute(messageId, String(receipt.sequence))
      span.end()
      return receipt
    } catch (error) {
      endFailed(span, error)
      throw error
    }
  }

  #start(): Span {
    const { topic } = this.publisher
    return this.#tracer.startSpan(
      `publish ${topic}`,
      { kind: SpanKind.PRODUCER, attributes: attributesOf(topic, 'publish') },
      context.active(),
    )
  }

  /** The value with the context in its field: a copy, as the value is the caller's. */
  #with(value: In, span: Span): In {
    if (this.#field === undefined || typeof value !== 'object' || value === null) return value
    return { ...value, [this.#field]: traceparentOf(span) }
  }
}

/**
 * Publishes with spans: kind `PRODUCER`, named `publish <topic>`.
 *
 * @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
 */
export function tracePublisher<In>(publisher: Publisher<In>, options: TracingOptions = {}): TracedPublisher<In> {
  if (!(publisher instanceof Publisher)) throw invalid('tracePublisher() takes a publisher first.')
  checkTracing('tracePublisher()', options)
  return new TracedPublisher(publisher, options)
}

/** The context of the span that is active now, for a field of a value that a program fills by itself; empty if none is. */
export function traceparent(): string {
  const span = trace.getActiveSpan()
  return span === undefined ? '' : traceparentOf(span)
}
