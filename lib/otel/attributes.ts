import { type Attributes, type Span, SpanStatusCode } from '@opentelemetry/api'
import { HermesError } from '../base/errors.js'

/* Names of the semantic conventions for messaging: https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/ */

export const messageId = 'messaging.message.id'
export const batchCount = 'messaging.batch.message_count'
export const bodyBytes = 'messaging.message.body.size'

export function attributesOf(topic: string, operation: 'publish' | 'process', group?: string): Attributes {
  return {
    'messaging.system': 'hermes',
    'messaging.destination.name': topic,
    'messaging.operation.name': operation,
    'messaging.operation.type': operation === 'publish' ? 'send' : 'process',
    ...(group !== undefined && { 'messaging.consumer.group.name': group }),
  }
}

/** Ends the span with what failed. */
export function endFailed(span: Span, error: unknown): void {
  const type = error instanceof HermesError ? error.code : error instanceof Error ? error.name : '_OTHER'
  span.setAttribute('error.type', type)
  span.setStatus({ code: SpanStatusCode.ERROR, ...(error instanceof Error && { message: error.message }) })
  span.end()
}
