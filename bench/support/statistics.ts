/** The middle of several trials, and how far they lie apart. */
export interface Trials {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly all: readonly number[]
}

export function trialsOf(values: readonly number[]): Trials {
  if (values.length === 0) throw new Error('there were no trials')
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] as number
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2
  return { median, min: sorted[0] as number, max: sorted.at(-1) as number, all: values }
}
