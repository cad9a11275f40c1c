import { randomInt } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { type Command, Option } from 'commander'
import { invalid } from '../../base/options.js'
import type { Wait } from '../../client/wait.js'
import { type Durability, durabilities } from '../../model/topic.js'
import { duration, integer, positive } from '../arguments.js'
import { eventBytes, type Plan } from '../battle/event.js'
import { type BattleOutcome, failureError, runBattle } from '../battle/run.js'
import { fromFile } from '../file.js'
import { machineText, thisMachine } from '../machine.js'
import { isRemote } from '../place.js'
import { Progress } from '../progress.js'
import type { Session } from '../session.js'
import { bytesText, counted, grouped, secondsText, table } from '../text-format.js'
import { globalsOf, timeOption, waitOption, withHelp } from './common.js'

interface BattleOptions {
  readonly tokens: number
  readonly rate: number
  readonly duration: number
  readonly warmUp: number
  readonly topic: string
  readonly durability: Durability
  readonly wait: Wait
  readonly stallTimeout: number
  readonly in: string
}

/** What is kept of a topic that a battle makes: about ten million messages. */
const retainBytes = 2 ** 30
const mostPerSecond = 100e6

export function registerBattle(program: Command, session: Session): void {
  const command = program
    .command('battle')
    .summary('inject orders and quotes at a rate, receive them, and report')
    .description(
      'Publishes --rate messages per second for each of --tokens instruments, orders and quotes of 64 bytes, into one topic, and receives them, in processes of their own. ' +
        'Reports latency from the time at which each message was due to its arrival, and what was delivered; content and order of every message are checked. ' +
        'Without --dir or --url (HERMES_DIR does not count here), starts a broker of its own in a temporary directory. ' +
        'The exit code is 1 unless everything was delivered once, in order and as it was published.',
    )
    .option('--tokens <n>', 'how many instruments', integer(1, 10_000_000), 1000)
    .option('-r, --rate <n>', 'messages per second of each of them', positive, 200)
    .addOption(timeOption('-t, --duration <time>', 'for how long', 30_000))
    .addOption(
      timeOption(
        '--warm-up <time>',
        'how long before that messages are published and checked, but not counted for the latency',
        1000,
        duration,
      ),
    )
    .option('--topic <name>', 'where the messages go; made if it is not there', 'battle')
    .addOption(
      new Option('--durability <level>', 'what an acknowledgement means').choices(durabilities).default('written'),
    )
    .addOption(waitOption())
    .addOption(timeOption('--stall-timeout <time>', 'give up when no message moves for so long', 10_000))
    .option('--in <directory>', "where to make the temporary directory of the battle's own broker", tmpdir())
    .action((options: BattleOptions) => {
      const isSaid = ['dir', 'url'].some((name) => program.getOptionValueSource(name) === 'cli')
      return battle(session, options, isSaid ? globalsOf(command).dir : undefined)
    })
  withHelp(
    command,
    `
hermes battle --tokens 1000 --rate 200 --duration 30
hermes battle --url tcp://10.0.0.5:9000 --tokens 100 --rate 1000
hermes battle --dir /dev/shm/market --wait spin
hermes battle --json | jq '.latencyNs.p99, .delivery'`,
  )
}

async function battle(session: Session, options: BattleOptions, place: string | undefined): Promise<void> {
  const { tokens, rate, warmUp, topic, durability, wait, stallTimeout } = options
  const perSecond = tokens * rate
  if (perSecond > mostPerSecond) {
    throw invalid(`${grouped(tokens)} tokens × ${rate} messages per second are more than can be injected.`)
  }
  const plan: Plan = {
    run: randomInt(1, 2 ** 32),
    tokens,
    perSecond,
    warmUp: Math.floor((perSecond * warmUp) / 1000),
    messages: Math.max(1, Math.round((perSecond * (warmUp + options.duration)) / 1000)),
  }
  const folder = place === undefined ? await temporary(options.in) : undefined
  const remove = () => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  }
  // (The second signal ends the process at once.)
  process.once('exit', remove)
  let progress: Progress | undefined
  try {
    if (!session.json) introduce(session, options, plan, place)
    await session.out.flush()
    const outcome = await runBattle({
      place,
      dir: folder ?? '',
      topic,
      plan,
      durability,
      wait,
      retainBytes,
      stallTimeoutMs: stallTimeout,
      signal: session.signal,
      onProgress: (received) => {
        progress ??= new Progress(session, plan.messages)
        progress.update(received, received)
      },
    })
    progress?.clear()
    if (outcome === undefined) return
    const verdict = judge(plan, outcome, session.stopping)
    if (session.json) session.out.line(JSON.stringify(reportOf(session, options, plan, outcome, verdict)))
    else printReport(session, plan, outcome, verdict)
    const failure = outcome.injector.failure ?? outcome.subscriber.failure
    if (failure !== undefined) throw failureError(failure)
    if (!verdict.passed) throw new Error(`The battle is lost: ${verdict.faults.join('; ')}.`)
  } finally {
    progress?.clear()
    if (folder !== undefined) await rm(folder, { recursive: true, force: true })
    // Only now: the second signal may come while it's being removed.
    process.off('exit', remove)
  }
}

async function temporary(base: string): Promise<string> {
  const path = resolve(base)
  return mkdtemp(join(path, 'hermes-battle-')).catch((error) => fromFile(error, path))
}

interface Verdict {
  readonly passed: boolean
  readonly missing: number
  /** Percent of what was sent, rounded down, so that 100 means all. */
  readonly delivery: number
  readonly faults: readonly string[]
}

function judge({ messages }: Plan, { injector, subscriber, stalled }: BattleOutcome, interrupted: boolean): Verdict {
  const { sent, acknowledged } = injector
  const { received, duplicates, outOfOrder, wrong } = subscriber
  const missing = Math.max(0, sent - received)
  const delivery = sent === 0 ? 0 : Math.floor((Math.min(received, sent) / sent) * 10_000) / 100
  const faults = [
    // (Told to end before the first message was due, it has failed in nothing.)
    ...(sent === 0 && !interrupted ? [`none of ${counted(messages, 'message')} was published`] : []),
    ...(missing > 0 ? [`${counted(missing, 'message')} not delivered`] : []),
    ...(duplicates > 0 ? [`${counted(duplicates, 'message')} delivered more than once`] : []),
    ...(outOfOrder > 0 ? [`${counted(outOfOrder, 'message')} out of order`] : []),
    ...(wrong > 0 ? [`${counted(wrong, 'message')} with a content or a sequence that is wrong`] : []),
    ...(acknowledged ? [] : ['not all messages were acknowledged']),
    ...(stalled ? ['no message moved any more'] : []),
  ]
  return { passed: faults.length === 0, missing, delivery, faults }
}

function introduce(session: Session, options: BattleOptions, plan: Plan, place: string | undefined): void {
  const { tokens, rate, duration, durability, wait } = options
  const { out } = session
  out.line(machineText(thisMachine()))
  out.line(
    `${counted(tokens, 'token')} × ${rate} messages/s = ${grouped(plan.perSecond)}/s for ${secondsText(duration)}, ` +
      `${eventBytes} bytes each, ${durability}, waiting: ${wait}`,
  )
  out.line(place === undefined ? 'over TCP, through a broker of its own in a temporary directory' : `over ${place}`)
  out.line('')
}

function printReport(session: Session, plan: Plan, outcome: BattleOutcome, verdict: Verdict): void {
  const { out } = session
  const { injector, subscriber, broker, place } = outcome
  const { sent, late, seconds } = injector
  const { received, duplicates, outOfOrder, wrong, foreign, latencyNs } = subscriber
  const early = sent < plan.messages ? ` of ${grouped(plan.messages)}: it ended early` : ''
  const rate = seconds > 0 ? ` in ${secondsText(seconds * 1000)} (${grouped(sent / seconds)}/s)` : ''
  const rows: [string, string][] = [
    ['sent', `${grouped(sent)}${early}${rate}; the first ${grouped(Math.min(sent, plan.warmUp))} as a warm-up`],
    ['received', `${grouped(received)}${foreign > 0 ? `, and ${grouped(foreign)} of others` : ''}`],
    ['delivery', `${verdict.delivery.toFixed(2)} %`],
    ['order', outOfOrder + duplicates === 0 ? 'right' : `${grouped(outOfOrder)} late, ${grouped(duplicates)} twice`],
    ['content', wrong === 0 ? 'right' : `${grouped(wrong)} wrong`],
    [
      'injector',
      late === 0 ? 'in time' : `more than 1 ms late with ${counted(late, 'message')}, which is in the latency`,
    ],
  ]
  if (broker !== null) {
    rows.push(['broker', `${broker.cpuPercent} % of a core, ${bytesText(broker.memoryBytes)} of memory; ${place}`])
  }
  for (const line of table(rows)) out.line(line)
  if (latencyNs !== null) {
    const { min, p50, p99, p999, max } = latencyNs
    out.line('')
    const [head = '', ...lines] = table([
      ['LATENCY', 'MIN', 'P50', 'P99', 'P99.9', 'MAX'],
      ['from due to received, µs', ...[min, p50, p99, p999, max].map(microseconds)],
    ])
    out.line(session.bold(head))
    for (const line of lines) out.line(line)
  }
}

function microseconds(ns: number): string {
  return ns < 100_000 ? (ns / 1000).toFixed(2) : grouped(ns / 1000)
}

function reportOf(
  session: Session,
  options: BattleOptions,
  plan: Plan,
  { place, injector, subscriber, broker, stalled }: BattleOutcome,
  { passed, missing, delivery }: Verdict,
): Readonly<Record<string, unknown>> {
  const { tokens, rate, duration, warmUp, topic, durability, wait } = options
  const { sent, late, seconds, acknowledged } = injector
  const { received, duplicates, outOfOrder, wrong, foreign, latencyNs } = subscriber
  return {
    passed,
    place,
    topic,
    tokens,
    rate,
    perSecond: plan.perSecond,
    durationMs: duration,
    warmUpMs: warmUp,
    payloadBytes: eventBytes,
    durability,
    wait,
    planned: plan.messages,
    sent,
    sentPerSecond: seconds > 0 ? Math.round(sent / seconds) : 0,
    acknowledged,
    late,
    received,
    delivery,
    missing,
    duplicates,
    outOfOrder,
    wrong,
    foreign,
    interrupted: session.stopping,
    stalled,
    latencyNs,
    broker,
    network: isRemote(place),
    machine: thisMachine(),
  }
}
