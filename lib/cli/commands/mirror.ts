import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import { checkTopicName } from '../../base/topic-name.js'
import type { Hermes } from '../../client/hermes.js'
import type { Mirror, MirrorTopicOptions } from '../../client/mirror.js'
import type { MirrorStatus } from '../../model/mirror.js'
import { timerDuration } from '../arguments.js'
import { byArgument, withPlace } from '../place.js'
import { Progress } from '../progress.js'
import type { Session } from '../session.js'
import { counted, grouped, rateText } from '../text-format.js'
import { timeOption, withHelp } from './common.js'

interface Options {
  readonly once?: boolean
  readonly interval: number
  readonly syncInterval?: number
}

/** A topic, and the place that it is in. */
interface Located {
  readonly place: string
  readonly topic: string
}

export function registerMirror(program: Command, session: Session): void {
  const command = program
    .command('mirror')
    .summary('copy a topic into a cluster or a directory, and go on with what comes')
    .description(
      'Copies a topic into another place, each message once and in order, until it is stopped. Run again, it goes on where it was; two at once do no harm. In a cluster messages keep their ' +
        'sequences and times. Only what is synced leaves the machine. A topic is written <place>/<topic>: ./data/orders, shm:market/quotes, nats://a,b,c/orders, tcp://host:9000/orders.',
    )
    .argument('<from>', 'the topic to copy')
    .argument('<to>', 'its mirror: in a directory, shm:name or nats://host,host,host')
    .option('--once', 'end when what is there now is in the mirror')
    .addOption(timeOption('--interval <time>', 'how often --json prints how far it is', 1000))
    .option(
      '--sync-interval <time>',
      'sync what publishers have left unsynced for so long (default: 20ms)',
      timerDuration,
    )
    .action(async (from: string, to: string, options: Options) => {
      const [source, target] = [locate(from), locate(to)]
      const work = (old: Hermes) =>
        withPlace(target.place, true, async (now) => {
          const { once, syncInterval } = options
          const settings: MirrorTopicOptions = {
            as: target.topic,
            follow: once !== true,
            signal: session.signal,
            ...(syncInterval === undefined ? {} : { syncIntervalMs: syncInterval }),
          }
          try {
            await using mirror = await old.mirror(source.topic, now, settings)
            await show(session, mirror, options)
          } catch (error) {
            // Stopped while it was being opened; the exit code tells of the signal.
            if (!(session.stopping && error instanceof HermesError && error.code === 'ABORTED')) throw error
          }
        })
      await withPlace(source.place, false, work, {}, byArgument)
    })
  withHelp(
    command,
    `
hermes mirror ./data/orders nats://a,b,c/orders
hermes mirror nats://a,b,c/orders /backup/hermes/orders
hermes mirror --once --json ./data/orders nats://a,b,c/orders-2026`,
  )
}

/** @throws HermesError `INVALID_ARGUMENT`, `INVALID_NAME` */
function locate(text: string): Located {
  const [, place, topic] = /^(.*[^/])\/+([^/]+)$/.exec(text) ?? []
  if (place === undefined || topic === undefined || /^[a-z]+:\/?$/i.test(place))
    throw invalid(
      `'${text}' does not name a topic in a place: write <place>/<topic>, such as ./data/orders or nats://a,b,c/orders.`,
    )
  checkTopicName(topic)
  return { place, topic }
}

/** Says how far it is, until it ends. */
async function show(session: Session, mirror: Mirror, { interval }: Options): Promise<void> {
  const progress = new Progress(session, undefined)
  const begun = performance.now()
  const { json } = session
  const print = (status: MirrorStatus) =>
    session.out.line(JSON.stringify({ from: mirror.from, to: mirror.to, ...status }))
  const look = () => {
    const status = mirror.status()
    if (json) {
      print(status)
      void session.out.flush()
    } else progress.show(0, shown(status))
  }
  const timer = setInterval(look, json ? interval : 200)
  try {
    await mirror.done
  } finally {
    clearInterval(timer)
    progress.clear()
  }
  await mirror.closed()
  const status = mirror.status()
  if (json) print(status)
  await session.out.flush()
  const ms = performance.now() - begun
  session.note(
    `${rateText(status.messages, ms)} went from ${mirror.from.topic} to ${mirror.to.topic} in ${mirror.to.place}; message ${grouped(status.sequence)} is next${status.lag > 0 ? `, ${counted(status.lag, 'message')} left` : ''}.`,
  )
}

function shown({ sequence, lag, rate }: MirrorStatus): string {
  return `message ${grouped(sequence)} is next, lag ${grouped(lag)}, ${grouped(rate)}/s`
}
