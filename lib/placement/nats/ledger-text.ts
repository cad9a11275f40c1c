import { HermesError } from '../../base/errors.js'
import { groupKinds } from '../../model/group.js'
import type { Ledger, Run } from './ledger.js'

/* The entry of a group as it is written: JSON. docs/cluster.md, "How a group lies in a bucket". */

const format = 'hermes-group'
const version = 1

export function ledgerText(ledger: Ledger): string {
  const runs = joined(ledger.runs).map(({ from, count, at, deliveries, member, number, due, bucket }) => [
    from,
    count,
    at,
    deliveries,
    member,
    number,
    due,
    bucket,
  ])
  return JSON.stringify({ format, version, ...ledger, runs })
}

/** Runs one behind the other that do not differ are one. */
function joined(runs: readonly Run[]): Run[] {
  const found: Run[] = []
  for (const run of runs) {
    const last = found.at(-1)
    const isSame =
      last !== undefined &&
      last.from + last.count === run.from &&
      last.deliveries === run.deliveries &&
      last.member === run.member &&
      last.number === run.number &&
      last.due === run.due &&
      last.bucket === run.bucket
    if (isSame) last.count += run.count
    else found.push({ ...run })
  }
  return found
}

/** @throws HermesError `CORRUPT`, `VERSION_MISMATCH` */
export function readLedger(text: string, topic: string, group: string): Ledger {
  const details = { topic, group }
  try {
    const content = JSON.parse(text) as Ledger & { format: unknown; version: unknown }
    const { format: found, version: is, ...rest } = content
    if (found === format && is !== version) {
      throw new HermesError(
        'VERSION_MISMATCH',
        `Group '${group}' of topic '${topic}' has version ${is} of the entry; this one reads ${version}. Update hermes-mq.`,
        { details },
      )
    }
    if (found === format && isLedger(rest)) return { ...rest, runs: rest.runs.map((one) => runOf(one)) }
  } catch (error) {
    if (error instanceof HermesError) throw error
    // told below
  }
  throw new HermesError(
    'CORRUPT',
    `The entry of group '${group}' of topic '${topic}' was not written by Hermes, or is damaged. Delete the group: hermes groups delete ${topic} ${group} --force`,
    { details },
  )
}

function isLedger(value: Ledger): boolean {
  const isCount = (one: unknown) => Number.isSafeInteger(one) && (one as number) >= 0
  const { topicId, kind, window, rules, deadLetter, next, nextAt, active, members, runs, totals } = value
  return (
    typeof topicId === 'string' &&
    groupKinds.includes(kind) &&
    typeof deadLetter === 'string' &&
    typeof active === 'string' &&
    [window, next, nextAt, rules.leaseMs, rules.maxDeliveries, rules.backoffMs, rules.maxBackoffMs].every(isCount) &&
    Object.values(totals).every(isCount) &&
    Object.values(members).every(({ beat, turn }) => isCount(beat) && isCount(turn)) &&
    Array.isArray(runs) &&
    runs.every((run) => Array.isArray(run) && run.length === 8)
  )
}

function runOf(tuple: unknown): Run {
  const [from, count, at, deliveries, member, number, due, bucket] = tuple as [
    number,
    number,
    number,
    number,
    string,
    number,
    number,
    number,
  ]
  return { from, count, at, deliveries, member, number, due, bucket }
}
