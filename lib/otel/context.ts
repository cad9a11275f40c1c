import { type Context, isSpanContextValid, type Span, type SpanContext, TraceFlags, trace } from '@opentelemetry/api'

/* The `traceparent` of W3C Trace Context, version 00, as text of 55 characters: what a value has room for in a field `ascii(55)`. */

/** Empty for a span that is not recorded anywhere: who reads it finds no context. */
export function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext()
  if (!isSpanContextValid(span.spanContext())) return ''
  return `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01'}`
}

/** `undefined`: the field holds no context. It comes from others, so it may hold anything. */
export function spanContextIn(value: unknown, field: string | undefined): SpanContext | undefined {
  if (field === undefined || typeof value !== 'object' || value === null) return undefined
  const text: unknown = (value as Record<string, unknown>)[field]
  if (typeof text !== 'string') return undefined
  const [, traceId = '', spanId = '', flags = ''] = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text) ?? []
  const found = { traceId, spanId, traceFlags: Number.parseInt(flags, 16) & TraceFlags.SAMPLED, isRemote: true }
  return isSpanContextValid(found) ? found : undefined
}

/** A message's context is the parent where nothing else is active; else it is only linked. */
export function parentFor(active: Context, sender: SpanContext | undefined): Context {
  return sender === undefined || trace.getSpan(active) !== undefined ? active : trace.setSpanContext(active, sender)
}
