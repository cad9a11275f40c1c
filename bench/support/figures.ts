import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { millions } from './format.js'
import type { LatencySummary } from './histogram.js'
import type { Report } from './report.js'
import { barChart, percentilePlot } from './svg.js'

/** What the workloads' `data` holds, as far as it's drawn. */
interface Drawn {
  readonly peers?: {
    readonly throughput: readonly { readonly name: string; readonly rate: { readonly median: number } }[]
    readonly latency: readonly { readonly name: string; readonly latency: LatencySummary }[]
  }
  readonly paced?: readonly { readonly rate: number; readonly waiting: string; readonly latency: LatencySummary }[]
  readonly rotation?: readonly { readonly rate: number; readonly latency: LatencySummary }[]
}

export interface Figure {
  /** The workload it belongs to. */
  readonly workload: string
  readonly file: string
  readonly title: string
  readonly svg: string
}

/** The figures that the results of a run allow. */
export function drawFigures({ results }: Report): Figure[] {
  const { peers, paced, rotation } = Object.fromEntries(results.map(({ name, data }) => [name, data])) as Drawn
  const figures: Figure[] = []
  const add = (workload: string, file: string, title: string, svg: string) =>
    figures.push({ workload, file, title, svg })
  if (peers !== undefined) {
    const throughput = 'Million 64-byte messages per second, end to end'
    const bars = peers.throughput
      .toSorted((a, b) => b.rate.median - a.rate.median)
      .map(({ name, rate }) => ({
        label: name,
        value: rate.median,
        shown: `${millions(rate.median)} M/s`,
        ours: name.startsWith('Hermes'),
      }))
    add('peers', 'throughput.svg', throughput, barChart(throughput, bars))
    const trip = 'Round trip by percentile'
    const curves = peers.latency.map(({ name, latency }) => ({ label: name, points: latency.curve }))
    add('peers', 'round-trip.svg', trip, percentilePlot(trip, curves))
  }
  if (paced !== undefined) {
    const rate = 10_000
    const title = `One-way latency at ${rate.toLocaleString('en-US')} messages/s, by way of waiting`
    const curves = paced
      .filter((one) => one.rate === rate)
      .map(({ waiting, latency }) => ({ label: waiting, points: latency.curve }))
    add('paced', 'waiting.svg', title, percentilePlot(title, curves))
  }
  if (rotation !== undefined) {
    const title = 'One publish, across segment rotations'
    const curves = rotation.map(({ rate, latency }) => ({
      label: rate === 0 ? 'as fast as it goes' : `${millions(rate)} million/s`,
      points: latency.curve,
    }))
    add('rotation', 'rotation.svg', title, percentilePlot(title, curves))
  }
  return figures
}

export function writeFigures(figures: readonly Figure[], folder: string): void {
  mkdirSync(folder, { recursive: true })
  for (const { file, svg } of figures) writeFileSync(join(folder, file), svg)
}
