import type { MetricsReport } from '../model/metrics.js'
import { cumulative, type Family, toFamilies } from './families.js'
import { exportedBounds } from './histogram.js'

/** `openmetrics`: OpenMetrics 1.0. `prometheus`: the older text format, 0.0.4, which promtool checks. */
export type MetricsFormat = 'openmetrics' | 'prometheus'
export const metricsFormats: readonly MetricsFormat[] = ['openmetrics', 'prometheus']

export const contentTypes: Readonly<Record<MetricsFormat, string>> = {
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
}

/** A report as text for Prometheus and those that read its formats. */
export function metricsText(report: MetricsReport, format: MetricsFormat): string {
  const parts: string[] = []
  for (const family of toFamilies(report)) write(parts, family, format)
  if (format === 'openmetrics') parts.push('# EOF\n')
  return parts.join('')
}

function write(parts: string[], { name, type, help, samples, histograms = [] }: Family, format: MetricsFormat): void {
  const sample = type === 'counter' ? `${name}_total` : name
  // The older format names a family as its samples.
  const family = format === 'openmetrics' ? name : sample
  parts.push(`# HELP ${family} ${help}\n# TYPE ${family} ${type}\n`)
  if (format === 'openmetrics') {
    const unit = /_(seconds|bytes)$/.exec(name)?.[1]
    if (unit !== undefined) parts.push(`# UNIT ${family} ${unit}\n`)
  }
  for (const { labels, value } of samples)
    parts.push(labels === '' ? `${sample} ${value}\n` : `${sample}{${labels}} ${value}\n`)
  for (const { labels, latency } of histograms) {
    const { bounds, total } = cumulative(latency)
    const before = labels === '' ? '' : `${labels},`
    exportedBounds.forEach((bound, i) => {
      parts.push(`${name}_bucket{${before}le="${bound}"} ${bounds[i]}\n`)
    })
    const braces = labels === '' ? '' : `{${labels}}`
    parts.push(
      `${name}_bucket{${before}le="+Inf"} ${total}\n${name}_sum${braces} ${latency.sumSeconds}\n${name}_count${braces} ${total}\n`,
    )
  }
}
