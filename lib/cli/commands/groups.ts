import type { Command } from 'commander'
import type { Hermes } from '../../client/hermes.js'
import type { DescribedGroup, GroupSummary, Lag } from '../../model/administration.js'
import type { From } from '../../model/topic.js'
import { from, timerDuration } from '../arguments.js'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { counted, grouped, table } from '../text-format.js'
import { boundsOf, globalsOf, withHelp } from './common.js'

export function registerGroups(program: Command, session: Session): void {
  const command = program
    .command('groups')
    .summary('look after groups and durable subscriptions')
    .description(
      'Lists, describes, resets and deletes groups and durable subscriptions. Without a subcommand, lists those of all topics with their lag.',
    )
    .option('--timeout <time>', 'how long a broker may take to answer (default: 30s)', timerDuration)
    .action(() => list(session, command, undefined))
  withHelp(
    command,
    `
hermes groups
hermes groups list orders
hermes groups describe orders billing
hermes groups reset orders billing latest
hermes groups delete orders billing`,
  )
  registerList(command, session)
  registerDescribe(command, session)
  registerReset(command, session)
  registerDelete(command, session)
}

function registerList(groups: Command, session: Session): void {
  const command = groups
    .command('list')
    .summary('list groups with their lag')
    .description(
      'Lists the groups and durable subscriptions of a topic, or of all topics. With --json, one object per line.',
    )
    .argument('[topic]')
    .action((topic: string | undefined) => list(session, command, topic))
  withHelp(
    command,
    `
hermes groups list
hermes groups list orders --json | jq 'select(.lag.seconds > 60)'`,
  )
}

async function list(session: Session, command: Command, topic: string | undefined): Promise<void> {
  const { dir } = globalsOf(command)
  await withPlace(
    dir,
    false,
    async (hermes) => {
      if (topic !== undefined) await needTopic(hermes, topic)
      const found: GroupSummary[] = []
      let failure: unknown
      for (const name of topic === undefined ? await hermes.topics() : [topic]) {
        try {
          found.push(...(await hermes.admin.groups(name)))
        } catch (error) {
          // What is wrong with one topic, or one group, hides no other.
          failure ??= error
          const { groups } = (error as { details?: { groups?: readonly GroupSummary[] } }).details ?? {}
          found.push(...(groups ?? []))
        }
      }
      show(session, found, failure !== undefined)
      if (failure !== undefined) throw failure
    },
    boundsOf(command),
  )
}

function show(session: Session, found: readonly GroupSummary[], isPart: boolean): void {
  if (session.json) {
    for (const group of found) session.out.line(JSON.stringify(group))
    return
  }
  if (found.length === 0) {
    if (!isPart) session.note('There are no groups.')
    return
  }
  const head = ['TOPIC', 'GROUP', 'KIND', 'MEMBERS', 'IN FLIGHT', 'LAG', 'BEHIND', 'LOST']
  const rows = found.map(({ topic, name, kind, members, inFlight, lag, lost }) => [
    topic,
    name,
    kind,
    members,
    inFlight,
    lag.messages,
    ageText(lag),
    lost,
  ])
  const [first = '', ...lines] = table([head, ...rows])
  session.out.line(session.bold(first))
  for (const line of lines) session.out.line(line)
}

function registerDescribe(groups: Command, session: Session): void {
  const command = groups
    .command('describe')
    .summary('show a group and its members')
    .description(
      'Shows the position of a group or durable subscription, what blocks it, its rules, and each member with the messages that it holds.',
    )
    .argument('<topic>')
    .argument('<group>')
    .action(async (topic: string, name: string) => {
      const group = await inPlace(command, topic, (hermes) => hermes.admin.describeGroup(topic, name))
      if (session.json) return session.out.line(JSON.stringify(group))
      for (const line of table(rowsOf(group))) session.out.line(line)
      if (group.members.length === 0) return
      session.out.line('')
      const head = ['MEMBER', 'PID', 'STATE', 'IN FLIGHT', 'BEHIND', 'SETTLED']
      const rows = group.members.map(({ name, pid, alive, late, active, inFlight, lag, settledTotal }) => [
        name,
        String(pid),
        !alive ? 'dead' : late ? 'late' : active ? 'active' : 'working',
        inFlight,
        ageText(lag),
        settledTotal,
      ])
      const [first = '', ...lines] = table([head, ...rows])
      session.out.line(session.bold(first))
      for (const line of lines) session.out.line(line)
    })
  withHelp(
    command,
    `
hermes groups describe orders billing
hermes groups describe orders billing --json | jq .lag.messages`,
  )
}

function registerReset(groups: Command, session: Session): void {
  const command = groups
    .command('reset')
    .summary('move a group to another position')
    .description(
      'Moves a group or durable subscription to another position: everything before it counts as settled, everything from there on is delivered (again). Refused while it has members, unless --force is given: ' +
        'then they lose the messages that they hold.',
    )
    .argument('<topic>')
    .argument('<group>')
    .argument('<where>', 'earliest, latest, a sequence, or a time such as 2026-01-31T09:30:00Z', from)
    .option('-f, --force', 'also while it has members')
    .action(async (topic: string, name: string, to: From, { force = false }: { readonly force?: boolean }) => {
      const sequence = await inPlace(command, topic, (hermes) => hermes.admin.resetGroup(topic, name, to, { force }))
      if (session.json) session.out.line(JSON.stringify({ topic, group: name, sequence }))
      else session.out.line(`${topic}, ${name}: goes on at sequence ${grouped(sequence)}`)
    })
  withHelp(
    command,
    `
hermes groups reset orders billing earliest
hermes groups reset orders billing 2026-01-31T09:30:00Z --force`,
  )
}

function registerDelete(groups: Command, session: Session): void {
  const command = groups
    .command('delete')
    .summary('delete a group')
    .description(
      'Deletes a group or durable subscription with its position. Refused while it has members, unless --force is given: then they get NOT_FOUND.',
    )
    .argument('<topic>')
    .argument('<group>')
    .option('-f, --force', 'also while it has members')
    .action(async (topic: string, name: string, { force = false }: { readonly force?: boolean }) => {
      await inPlace(command, topic, (hermes) => hermes.admin.deleteGroup(topic, name, { force }))
      if (session.json) session.out.line(JSON.stringify({ topic, group: name, deleted: true }))
      else session.out.line(`${topic}, ${name}: deleted`)
    })
  withHelp(command, '\nhermes groups delete orders billing')
}

function inPlace<T>(command: Command, topic: string, work: (hermes: Hermes) => Promise<T>): Promise<T> {
  const { dir } = globalsOf(command)
  return withPlace(
    dir,
    false,
    async (hermes) => {
      await needTopic(hermes, topic)
      return work(hermes)
    },
    boundsOf(command),
  )
}

function ageText({ messages, seconds }: Lag): string {
  if (messages === 0) return '-'
  return seconds < 60 ? `${seconds.toFixed(1)} s` : `${grouped(seconds)} s`
}

function rowsOf(group: DescribedGroup): [string, string][] {
  const { lag, totals, oldest, floor, next, end, claimed, returned, delayed, maxDeliveries } = group
  return [
    ['topic', group.topic],
    ['group', group.name],
    ['kind', group.kind],
    ['created', new Date(group.createdMs).toISOString()],
    ['lag', lag.messages === 0 ? 'none' : `${counted(lag.messages, 'message')}, ${ageText(lag)}`],
    ['settled before', String(floor)],
    ['handed out before', String(next)],
    ['next sequence', String(end)],
    ['in flight', `${grouped(claimed)} claimed, ${grouped(returned)} returned, ${grouped(delayed)} delayed`],
    ...(oldest === undefined
      ? []
      : [
          [
            'oldest',
            `sequence ${oldest.sequence}, ${oldest.state}, delivered ${counted(oldest.deliveries, 'time')}`,
          ] as [string, string],
        ]),
    ['hands out', group.upToSynced ? 'what is synced' : 'what is written'],
    ['deliveries', maxDeliveries === 0 ? 'without limit' : `${maxDeliveries} at most`],
    ['lease', `${grouped(group.leaseMs)} ms`],
    ['back-off', `${grouped(group.backoffMs)} to ${grouped(group.maxBackoffMs)} ms`],
    [
      'totals',
      `${grouped(totals.settled)} settled, ${grouped(totals.redelivered)} delivered again, ${grouped(totals.late)} too late, ${grouped(totals.rejected)} rejected, ${grouped(totals.lost)} lost to retention`,
    ],
  ]
}
