/** Nanoseconds of CLOCK_MONOTONIC at `performance.now() === 0`, as near as two clocks can be read together. */
function findBase(): number {
  let best = Number.POSITIVE_INFINITY
  let base = 0
  for (let i = 0; i < 2000; i++) {
    const before = process.hrtime.bigint()
    const now = performance.now()
    const after = process.hrtime.bigint()
    const apart = Number(after - before)
    if (apart < best) {
      best = apart
      base = Number(before) + apart / 2 - now * 1e6
    }
  }
  return base
}

let base: number | undefined

/** Nanoseconds of the machine's monotonic clock: comparable between processes, to about 50 ns. Allocates nothing once warm. */
export function monotonicNs(): number {
  base ??= findBase()
  return performance.now() * 1e6 + base
}

/** What one reading of the clock costs, in nanoseconds: measured, for the small print. */
export function clockCostNs(): number {
  const rounds = 200_000
  let best = Number.POSITIVE_INFINITY
  for (let trial = 0; trial < 5; trial++) {
    const begin = performance.now()
    for (let i = 0; i < rounds; i++) performance.now()
    best = Math.min(best, ((performance.now() - begin) * 1e6) / rounds)
  }
  return best
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
