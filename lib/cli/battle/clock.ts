const looks = 1000

let origin: number | undefined

/** Nanoseconds of CLOCK_MONOTONIC at `performance.now() === 0`: the reading that two looks at the other clock enclose most tightly. */
function findOrigin(): number {
  let narrowest = Number.POSITIVE_INFINITY
  let found = 0
  for (let i = 0; i < looks; i++) {
    const before = performance.now()
    const ns = Number(process.hrtime.bigint())
    const after = performance.now()
    if (after - before >= narrowest) continue
    narrowest = after - before
    found = ns - ((before + after) / 2) * 1e6
  }
  return found
}

/** Nanoseconds of the machine's monotonic clock, comparable between its processes to well below a microsecond. The first call takes a moment. */
export function monotonicNs(): number {
  origin ??= findOrigin()
  return performance.now() * 1e6 + origin
}
