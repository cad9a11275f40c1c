import type { GroupMemberReport, GroupReport } from './group.js'

/** How far something is behind. */
export interface Lag {
  /** Sequences that are not settled. */
  readonly messages: number
  /** How old the oldest of them is, in seconds; 0 if there is none. By the clocks of this host and of its publisher. */
  readonly seconds: number
}

/** A member of a group, and how far behind it is with what it holds. */
export interface DescribedMember extends GroupMemberReport {
  readonly lag: Lag
}

/** A group or durable subscription, as `hermes.admin.describeGroup()` tells of it. */
export interface DescribedGroup extends Omit<GroupReport, 'members'> {
  readonly topic: string
  readonly name: string
  readonly lag: Lag
  readonly members: readonly DescribedMember[]
}

/** One group in a list: what `DescribedGroup` has, in short. */
export interface GroupSummary {
  readonly topic: string
  readonly name: string
  readonly kind: GroupReport['kind']
  readonly members: number
  /** Handed out and not settled, or to be handed out again. */
  readonly inFlight: number
  readonly lag: Lag
  /** Messages that retention had removed before they were settled. */
  readonly lost: number
}

export function summaryOf({
  topic,
  name,
  kind,
  members,
  claimed,
  returned,
  delayed,
  lag,
  totals,
}: DescribedGroup): GroupSummary {
  const inFlight = claimed + returned + delayed
  return { topic, name, kind, members: members.length, inFlight, lag, lost: totals.lost }
}
