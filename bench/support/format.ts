import type { LatencySummary } from './histogram.js'
import type { Trials } from './statistics.js'

/** Three significant digits, no exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  if (value === 0) return '0'
  const places = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value))))
  return value >= 1000 ? Math.round(value).toLocaleString('en-US') : value.toFixed(Math.min(places, 4))
}

/** A duration given in nanoseconds, with its unit. */
export function duration(ns: number): string {
  if (ns < 1000) return `${digits(ns)} ns`
  if (ns < 1e6) return `${digits(ns / 1e3)} µs`
  if (ns < 1e9) return `${digits(ns / 1e6)} ms`
  return `${digits(ns / 1e9)} s`
}

/** Messages per second, in millions. */
export function millions(perSecond: number): string {
  return digits(perSecond / 1e6)
}

export function range(trials: Trials, show: (value: number) => string): string {
  return `${show(trials.min)} – ${show(trials.max)}`
}

export function bytes(count: number): string {
  if (count < 1024) return `${count} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = count
  let unit = -1
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${digits(value)} ${units[unit]}`
}

export const latencyColumns = ['p50', 'p90', 'p99', 'p99.9', 'max', 'samples']

export function latencyCells(summary: LatencySummary): string[] {
  const { p50, p90, p99, p999, max, count } = summary
  return [...[p50, p90, p99, p999, max].map(duration), count.toLocaleString('en-US')]
}
