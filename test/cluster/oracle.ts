/** What became of one writer's messages. */
export interface Written {
  /** How many it published. */
  readonly sent: number
  /** The sequence of each value that was acknowledged. */
  readonly acknowledged: ReadonlyMap<string, number>
  readonly failures: readonly unknown[]
}

/** Acknowledged is stored at its sequence, nothing is there twice, each writer's order is kept, and a subscriber saw the very log. */
export function faultsOf(
  stored: ReadonlyMap<number, string>,
  seen: ReadonlyMap<number, string>,
  writers: readonly Written[],
): string[] {
  const faults: string[] = []
  const values = [...stored.values()]
  if (new Set(values).size !== values.length) faults.push('something is stored twice')
  for (const [index, writer] of writers.entries()) {
    if (writer.failures.length > 0) faults.push(`w${index} failed: ${writer.failures[0]}`)
    if (writer.acknowledged.size !== writer.sent)
      faults.push(`w${index}: ${writer.acknowledged.size} of ${writer.sent} are acknowledged`)
    for (const [value, sequence] of writer.acknowledged)
      if (stored.get(sequence) !== value)
        faults.push(`${value} was acknowledged as ${sequence}, where ${stored.get(sequence)} is`)
    const mine = values.filter((value) => value.startsWith(`w${index}:`))
    if (mine.some((value, n) => value !== `w${index}:${n}`)) faults.push(`the order of w${index} is not kept`)
  }
  const was = [...seen]
  const is = [...stored]
  const other = is.findIndex((one, index) => String(one) !== String(was[index]))
  if (other >= 0 || was.length !== is.length)
    faults.push(
      `the subscriber saw ${was.length} of ${is.length}, and as number ${other} ${was[other]} in place of ${is[other]}`,
    )
  return faults
}
