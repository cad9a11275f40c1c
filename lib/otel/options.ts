import { type TracerProvider, trace } from '@opentelemetry/api'
import { checkOptions, invalid } from '../base/options.js'
import { version } from '../base/version.js'

export interface TracingOptions {
  /** Default: the one that was registered with `@opentelemetry/api`. */
  readonly tracerProvider?: TracerProvider | undefined
  /**
   * A field of the topic's values that holds a `traceparent` (55 ASCII characters): who publishes writes the context of its span there, who
   * handles reads it. Frames have no headers, so without such a field no context travels.
   */
  readonly contextField?: string | undefined
}

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkTracing(what: string, options: TracingOptions, more: readonly string[] = []): void {
  checkOptions(what, options, ['tracerProvider', 'contextField', ...more])
  const { tracerProvider, contextField } = options
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== 'function')
    throw invalid("'tracerProvider' must be a TracerProvider.")
  if (contextField !== undefined && (typeof contextField !== 'string' || contextField === ''))
    throw invalid("'contextField' must be the name of a field.")
}

export const tracerOf = ({ tracerProvider }: TracingOptions) =>
  (tracerProvider ?? trace).getTracer('hermes-mq', version)
