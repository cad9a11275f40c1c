// What has to hold after a round, whatever went wrong in it.

/**
 * Acknowledged is stored at its sequence, nothing is there twice, each writer's order is kept, and a subscriber saw the very log.
 *
 * @param stored  what is in the topic: pairs of sequence and value, in the order in which a new subscriber reads them
 * @param seen    the same of a subscriber that was there all the time
 * @param writers of each `{ sent, acknowledged, failures }`: how many it published, the sequence of each value that was acknowledged, and what failed. Writer `n` publishes `w<n>:0`, `w<n>:1`, …
 * @returns sentences; none if all is as it has to be
 */
export function faultsOf(stored, seen, writers) {
  const faults = []
  const is = [...stored]
  const was = [...seen]
  const at = new Map(is)
  const values = is.map(([, value]) => value)
  if (at.size !== is.length) faults.push('a sequence was read twice')
  if (new Set(values).size !== values.length) faults.push('something is stored twice')
  for (const [index, writer] of writers.entries()) {
    if (writer.failures.length > 0) faults.push(`w${index} failed: ${writer.failures[0]}`)
    if (writer.acknowledged.size !== writer.sent)
      faults.push(`w${index}: ${writer.acknowledged.size} of ${writer.sent} are acknowledged`)
    const lost = [...writer.acknowledged].filter(([value, sequence]) => at.get(sequence) !== value)
    if (lost.length > 0) {
      const [value, sequence] = lost[0]
      const more = lost.length > 1 ? `, and ${lost.length - 1} more` : ''
      faults.push(`${value} was acknowledged as ${sequence}, where ${at.get(sequence)} is${more}`)
    }
    const mine = values.filter((value) => value.startsWith(`w${index}:`))
    if (mine.some((value, n) => value !== `w${index}:${n}`)) faults.push(`the order of w${index} is not kept`)
  }
  const other = is.findIndex((one, index) => String(one) !== String(was[index]))
  if (other >= 0 || was.length !== is.length)
    faults.push(
      `the subscriber saw ${was.length} of ${is.length}, and as number ${other} ${was[other]} in place of ${is[other]}`,
    )
  return faults
}

/**
 * A mirror has what its topic has, in the same order. Both: arrays of `{ sequence, value }`.
 *
 * @param isSame whether sequences are those of the topic, too. A mirror in a directory has its own, with gaps where a bridge was killed in the midst of a batch
 */
export function mirrorFaultsOf(original, mirrored, isSame) {
  const wrong = mirrored.findIndex(({ value, sequence }, n) => {
    const before = isSame ? original[n]?.sequence - 1 : (mirrored[n - 1]?.sequence ?? 0)
    return value !== original[n]?.value || (isSame ? sequence !== before + 1 : sequence <= before)
  })
  const faults = []
  if (wrong >= 0)
    faults.push(
      `message ${wrong} of the mirror is ${JSON.stringify(mirrored[wrong])} in place of ${JSON.stringify(original[wrong])}`,
    )
  if (mirrored.length !== original.length)
    faults.push(`the mirror has ${mirrored.length} messages, and its topic ${original.length}`)
  return faults
}
