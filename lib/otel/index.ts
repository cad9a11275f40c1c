/** `hermes-mq/otel`: spans and metrics for OpenTelemetry. Needs the package @opentelemetry/api. See docs/opentelemetry.md. */
export { type HandlingOptions, traceBatch, traceHandler, traceJobs } from './handling.js'
export { type Observation, type ObserveOptions, observeMetrics } from './metrics.js'
export type { TracingOptions } from './options.js'
export { TracedPublisher, tracePublisher, traceparent } from './publisher.js'
