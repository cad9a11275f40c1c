import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram } from 'hdr-histogram-js'

/** Latencies in nanoseconds: an HDR histogram with three significant digits, up to 100 s. */
export class Latencies {
  readonly #histogram: Histogram

  constructor(histogram: Histogram = empty()) {
    this.#histogram = histogram
  }

  /** From what `encode` gave, all added up: trials and processes make one histogram. */
  static merge(encoded: readonly string[]): Latencies {
    const sum = empty()
    for (const one of encoded) sum.add(decodeFromCompressedBase64(one))
    return new Latencies(sum)
  }

  static of(values: Iterable<number>): Latencies {
    const latencies = new Latencies()
    for (const value of values) latencies.record(value)
    return latencies
  }

  record(ns: number): void {
    this.#histogram.recordValue(ns < 1 ? 1 : Math.round(ns))
  }

  encode(): string {
    return encodeIntoCompressedBase64(this.#histogram)
  }

  get count(): number {
    return this.#histogram.totalCount
  }

  at(percentile: number): number {
    return this.#histogram.getValueAtPercentile(percentile)
  }

  summary(): LatencySummary {
    const histogram = this.#histogram
    return {
      count: histogram.totalCount,
      min: histogram.minNonZeroValue,
      mean: histogram.mean,
      p50: this.at(50),
      p90: this.at(90),
      p99: this.at(99),
      p999: this.at(99.9),
      p9999: this.at(99.99),
      max: histogram.maxValue,
      curve: curvePercentiles
        .filter((percentile) => histogram.totalCount * (1 - percentile / 100) >= 1)
        .map((percentile) => [percentile, this.at(percentile)]),
    }
  }
}

/** All in nanoseconds. */
export interface LatencySummary {
  readonly count: number
  readonly min: number
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly p9999: number
  readonly max: number
  /** [percentile, ns] for a figure; only percentiles that have a sample beyond them. */
  readonly curve: readonly (readonly [number, number])[]
}

const curvePercentiles = [
  0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.25, 99.5, 99.7, 99.8, 99.9, 99.95, 99.97,
  99.99, 99.995, 99.999, 99.9999,
]

function empty(): Histogram {
  return build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: 100e9,
    numberOfSignificantValueDigits: 3,
    bitBucketSize: 32,
    useWebAssembly: false,
  })
}
