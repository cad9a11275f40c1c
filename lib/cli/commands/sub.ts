import { type Command, Option } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { Subscriber } from '../../client/subscriber.js'
import type { Wait } from '../../client/wait.js'
import type { From } from '../../model/topic.js'
import { from, integer, timerDuration, until } from '../arguments.js'
import { follow } from '../follow.js'
import { type FormatOptions, readFormat } from '../format.js'
import { awaitTopic, findTopic, needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { printer } from '../show.js'
import { counted, rateText, secondsText } from '../text-format.js'
import { codecOption, encodingOption, globalsOf, waitOption, withHelp } from './common.js'

interface SubOptions extends FormatOptions {
  readonly from?: From
  readonly count?: number
  readonly duration?: number
  readonly end?: boolean
  readonly until?: 'latest' | number | Date
  readonly synced?: boolean
  readonly meta?: boolean
  readonly skipDamage?: boolean
  readonly await?: boolean
  readonly wait: Wait
}

export function registerSub(program: Command, session: Session): void {
  const command = program
    .command('sub')
    .summary("print a topic's messages as they come")
    .description(
      'Prints the messages of a topic, one per line, until it is interrupted or has printed enough. With --json, each line is ' +
        '{"sequence":…,"timestampNs":"…","value":…}.',
    )
    .argument('<topic>')
    .option(
      '--from <where>',
      'earliest, latest, a sequence, or a date such as 2026-01-31T09:30:00Z (default: latest)',
      from,
    )
    .option('-n, --count <n>', 'stop after so many messages', integer(1))
    .option('-t, --duration <time>', 'stop after a time: 30s, 500ms, 2m', timerDuration)
    .option('-e, --end', 'stop at the present end of the topic')
    .addOption(
      new Option(
        '--until <where>',
        'stop behind a sequence, or before the first message of a date or later; waits for messages that are not there yet',
      )
        .argParser(until)
        .conflicts('end'),
    )
    .option('--synced', 'print only what no loss of power can take back')
    .option('-m, --meta', 'print sequence and time before each value, with tabs between')
    .option('--await', 'wait for a topic that does not exist yet, and read it from its beginning')
    .option('--skip-damage', 'skip damage in the log, and go on with the next sound message')
    .addOption(waitOption())
    .addOption(codecOption('raw shows the payloads of any topic; others must be what the topic has'))
    .addOption(encodingOption())
    .action(async (topic: string, options: SubOptions) => {
      const { dir } = globalsOf(command)
      const begun = performance.now()
      session.out.watchReader()
      const signal = options.duration === undefined ? session.signal : session.signalWithin(options.duration)
      const awaited = options.await === true && !(await isThere(dir, topic))
      if (awaited && !session.json) session.note(`Waiting for topic ${topic} to be made.`)
      if (awaited && !(await awaitTopic(dir, topic, signal))) {
        checkEnough(session, options, 0)
        return checkReached(session, options, 0, false)
      }
      await withPlace(dir, false, async (hermes) => {
        const info = await needTopic(hermes, topic)
        const format = readFormat(options, info)
        const subscriber = await hermes.topic(topic, { codec: format.codec, create: false }).subscriber({
          from: options.from ?? (awaited ? 'earliest' : 'latest'),
          wait: options.wait,
          onDamage: options.skipDamage === true ? 'skip' : 'error',
          ...(options.until === undefined ? {} : { until: options.until }),
          ...(options.synced === true ? { upTo: 'synced' } : {}),
        })
        if (
          options.end !== true &&
          options.until !== 'latest' &&
          subscriber.lag === 0 &&
          !session.json &&
          session.streams.stderr.isTTY
        )
          session.note(`Waiting for messages of ${topic}. Ctrl-C ends it.`)
        const end = options.end !== true ? undefined : options.synced === true ? info.syncedSequence : info.nextSequence
        const handled = await follow(subscriber, {
          handler: printer(session, format, options.meta === true),
          out: session.out,
          signal,
          count: options.count,
          until: end,
        })
        await session.out.flush()
        if (session.streams.stderr.isTTY && !session.json) session.note(rateText(handled, performance.now() - begun))
        checkEnough(session, options, handled)
        if (signal.aborted) {
          const reached = end === undefined ? await hasEnded(subscriber) : subscriber.position >= end
          checkReached(session, options, handled, reached)
        }
      })
    })
  withHelp(
    command,
    `
hermes sub quotes
hermes sub quotes --from earliest --end > quotes.ndjson
hermes sub quotes --from 2026-01-31T09:30:00Z --until 2026-01-31T16:00:00Z --meta
hermes sub orders --from earliest --until 1200 --synced
hermes sub quotes --json | jq .value.price
hermes sub quotes --await --duration 30s --dir shm:market`,
  )
}

async function isThere(dir: string, topic: string): Promise<boolean> {
  try {
    return await withPlace(dir, false, async (hermes) => (await findTopic(hermes, topic)) !== undefined)
  } catch (error) {
    // (What a place is that never becomes one of ours, awaitTopic tells.)
    if (error instanceof HermesError && (error.code === 'NOT_FOUND' || error.code === 'NOT_HERMES')) return false
    throw error
  }
}

/** Who asks for a number of messages within a time wants to know if they did not come. */
function checkEnough(session: Session, { count, duration }: SubOptions, handled: number): void {
  if (count === undefined || duration === undefined || handled >= count || session.stopping) return
  throw new HermesError(
    'TIMED_OUT',
    `Time over: ${counted(handled, 'message')} of ${count} within ${secondsText(duration)}.`,
    { details: { count, received: handled, durationMs: duration } },
  )
}

/** Who says where to end, and within which time, wants to know if it was not reached. With a count, that says what was enough. */
function checkReached(session: Session, options: SubOptions, handled: number, reached: boolean): void {
  const { count, duration, end, until } = options
  if (reached || duration === undefined || count !== undefined || session.stopping) return
  if (end !== true && until === undefined) return
  throw new HermesError(
    'TIMED_OUT',
    `Time over: ${counted(handled, 'message')} within ${secondsText(duration)}, and the place of --${end === true ? 'end' : 'until'} was not reached.`,
    { details: { received: handled, durationMs: duration } },
  )
}

/** Whether it has come to where it was told to end. */
async function hasEnded(subscriber: Subscriber<unknown, unknown>): Promise<boolean> {
  try {
    await subscriber.ready({ timeoutMs: 0 })
    return false
  } catch (error) {
    if (error instanceof HermesError && (error.code === 'OUT_OF_RANGE' || error.code === 'TIMED_OUT'))
      return error.code === 'OUT_OF_RANGE'
    throw error
  }
}
