import type { LatencyMetrics } from '../model/metrics.js'

const stepsPerOctave = 8
const octaves = 26
export const bucketCount = octaves * stepsPerOctave

/** The bucket of so many microseconds: see docs/metrics-format.md. */
export function bucketOf(us: number): number {
  const value = Math.min(Math.max(Math.floor(us), 1), 2 ** octaves - 1)
  const octave = 31 - Math.clz32(value)
  return octave * stepsPerOctave + Math.floor(((value - 2 ** octave) * stepsPerOctave) / 2 ** octave)
}

/** In seconds: what a bucket holds is below. */
export function upperBound(bucket: number): number {
  const octave = Math.floor(bucket / stepsPerOctave)
  return (2 ** octave * (1 + ((bucket % stepsPerOctave) + 1) / stepsPerOctave)) / 1e6
}

/** Bounds that are exported, in seconds: each a bound of a bucket, so that nothing is guessed. */
export const exportedBounds: readonly number[] = [2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24].map(
  (octave) => 2 ** octave / 1e6,
)

/** @param filled the buckets that hold something, from the lowest on: number and count, one after the other */
export function toLatency(filled: ArrayLike<number>, count: number, sumUs: number): LatencyMetrics {
  const buckets: [number, number][] = []
  let total = 0
  for (let at = 0; at + 1 < filled.length; at += 2) {
    const samples = filled[at + 1] as number
    buckets.push([upperBound(filled[at] as number), samples])
    total += samples
  }
  const quantile = (share: number): number | undefined => {
    let seen = 0
    for (const [bound, samples] of buckets) {
      seen += samples
      if (seen >= share * total) return bound
    }
    return undefined
  }
  return {
    count,
    sumSeconds: sumUs / 1e6,
    p50: quantile(0.5),
    p90: quantile(0.9),
    p99: quantile(0.99),
    p999: quantile(0.999),
    max: buckets.at(-1)?.[0],
    buckets,
  }
}
