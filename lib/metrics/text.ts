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
  let text = ''
  write(report, format, (part) => {
    text += part
  })
  return text
}

/** How long the last text was: the next one will hardly be much longer. */
let usualBytes = 65_536

/** The same as bytes: a text of megabytes is not held twice, and takes half of the time. */
export function metricsBytes(report: MetricsReport, format: MetricsFormat): Uint8Array {
  let bytes = Buffer.allocUnsafe(usualBytes + (usualBytes >> 3))
  let length = 0
  write(report, format, (part) => {
    if (length + part.length > bytes.length) {
      const larger = Buffer.allocUnsafe(2 * (length + part.length))
      bytes.copy(larger, 0, 0, length)
      bytes = larger
    }
    // Names of topics and groups, and all of our own words, are ASCII.
    length += bytes.write(part, length, 'latin1')
  })
  usualBytes = Math.max(length, 65_536)
  return bytes.subarray(0, length)
}

/** @param take gets the text in parts of one name each */
function write(report: MetricsReport, format: MetricsFormat, take: (part: string) => void): void {
  for (const family of toFamilies(report)) take(textOf(family, format))
  if (format === 'openmetrics') take('# EOF\n')
}

function textOf({ name, type, help, samples, histograms = [] }: Family, format: MetricsFormat): string {
  const sample = type === 'counter' ? `${name}_total` : name
  // The older format names a family as its samples.
  const family = format === 'openmetrics' ? name : sample
  let text = `# HELP ${family} ${help}\n# TYPE ${family} ${type}\n`
  if (format === 'openmetrics') {
    const unit = /_(seconds|bytes)$/.exec(name)?.[1]
    if (unit !== undefined) text += `# UNIT ${family} ${unit}\n`
  }
  // (few pieces to a line: there are tens of thousands)
  const head = `${sample}{`
  for (const { labels, value } of samples)
    text += labels === '' ? `${sample} ${value}\n` : `${head}${labels}} ${value}\n`
  for (const { labels, latency } of histograms) {
    const { bounds, total } = cumulative(latency)
    const before = labels === '' ? '' : `${labels},`
    exportedBounds.forEach((bound, i) => {
      text += `${name}_bucket{${before}le="${bound}"} ${bounds[i]}\n`
    })
    const braces = labels === '' ? '' : `{${labels}}`
    text += `${name}_bucket{${before}le="+Inf"} ${total}\n${name}_sum${braces} ${latency.sumSeconds}\n${name}_count${braces} ${total}\n`
  }
  return text
}
