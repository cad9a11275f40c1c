import { type Attributes, type Meter, type MeterProvider, metrics, type Observable } from '@opentelemetry/api'
import { checkOptions, invalid } from '../base/options.js'
import { version } from '../base/version.js'
import type { Hermes } from '../client/hermes.js'
import { catalogue, toFamilies } from '../metrics/families.js'
import type { MetricsReport } from '../model/metrics.js'

export interface ObserveOptions {
  /** Default: the one that was registered with `@opentelemetry/api`. */
  readonly meterProvider?: MeterProvider | undefined
}

/** Tells a MeterProvider of a place, until it is closed. Made by `observeMetrics()`. */
export interface Observation extends Disposable {
  /** Idempotent. The place stays open. */
  close(): void
}

/**
 * Tells what is counted in a place by OpenTelemetry's metrics: an observable counter or gauge for each name of docs/metrics.md but for histograms,
 * with its labels as attributes. The place is looked at when metrics are collected, and at no other time.
 *
 * @throws HermesError as `hermes.metrics()`, which is asked once; `INVALID_ARGUMENT`, `UNKNOWN_OPTION`
 */
export async function observeMetrics(
  hermes: Pick<Hermes, 'metrics'>,
  options: ObserveOptions = {},
): Promise<Observation> {
  if (typeof hermes?.metrics !== 'function') throw invalid('observeMetrics() takes an open place first.')
  checkOptions('observeMetrics()', options, ['meterProvider'])
  const { meterProvider = metrics } = options
  if (typeof meterProvider.getMeter !== 'function') throw invalid("'meterProvider' must be a MeterProvider.")
  // A place that counts nothing is refused now, and not at each collection.
  await hermes.metrics()
  const meter = meterProvider.getMeter('hermes-mq', version)
  const instruments = new Map(catalogue.map(({ name, type, help }) => [name, instrument(meter, name, type, help)]))
  const all = [...instruments.values()]
  const look: Parameters<Meter['addBatchObservableCallback']>[0] = async (result) => {
    let report: MetricsReport
    try {
      report = await hermes.metrics()
    } catch (error) {
      // Closed before the observation: there is nothing more to tell.
      if ((error as { code?: unknown }).code === 'CLOSED') return
      throw error
    }
    const known = new Map<string, Attributes>()
    for (const { name, samples } of toFamilies(report)) {
      const one = instruments.get(name)
      if (one === undefined) continue
      for (const { labels, value } of samples) {
        const attributes = known.get(labels) ?? attributesIn(labels)
        known.set(labels, attributes)
        result.observe(one, value, attributes)
      }
    }
  }
  meter.addBatchObservableCallback(look, all)
  const close = (): void => meter.removeBatchObservableCallback(look, all)
  return { close, [Symbol.dispose]: close }
}

function instrument(meter: Meter, name: string, type: 'counter' | 'gauge', description: string): Observable {
  const unit = name.endsWith('_seconds') ? 's' : name.endsWith('_bytes') ? 'By' : '1'
  return type === 'counter'
    ? meter.createObservableCounter(name, { description, unit })
    : meter.createObservableGauge(name, { description, unit })
}

/** `topic="a",group="b"`: names have no quotes in them. */
function attributesIn(labels: string): Attributes {
  return Object.fromEntries([...labels.matchAll(/([a-z]+)="([^"]*)"/g)].map(([, name, value]) => [name, value]))
}
