import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { Hermes } from '../../client/hermes.js'
import { payloadSize, segmentSize } from '../arguments.js'
import { type ConversionOptions, conversionOf } from '../migrate/conversion.js'
import type { Copied } from '../migrate/copy.js'
import { markFile } from '../migrate/mark.js'
import { needTopic, withPlace } from '../place.js'
import { Progress } from '../progress.js'
import type { Session } from '../session.js'
import { counted, grouped, rateText } from '../text-format.js'
import { codecOption, globalsOf, type PublishOptions, topicSettings, withHelp } from './common.js'

interface MigrateOptions extends ConversionOptions, Pick<PublishOptions, 'segmentBytes' | 'maxPayload'> {
  readonly to?: string
  readonly skipDamage?: boolean
}

const several = (text: string, given?: readonly string[]) => [...(given ?? []), text]

/** A command of `hermes topics`. */
export function registerMigrate(topics: Command, session: Session): void {
  const command = topics
    .command('migrate')
    .summary('copy a topic into a new one with another layout, codec or size')
    .description(
      'Copies all messages of a topic into a new one, at full speed, while the old one is in use. Without --codec and --schema the bytes stay as they are. A copy that was interrupted goes on ' +
        'where it ended, each message once; one that is done copies what has come since. Messages get the sequences and times of the new topic; the old topic stays as it is.',
    )
    .argument('<from>', 'the topic that there is')
    .argument('<to>', 'the topic to make')
    .option('--to <place>', 'another place for the new topic: a directory, or shm:name')
    .addOption(codecOption('the codec of the new topic (default: that of the old one)'))
    .option('-s, --schema <file>', 'its layout: a file, or JSON such as {"price":"f64"}')
    .option('--rename <old=new>', 'a field that gets another name; may be given several times', several)
    .option(
      '--set <field=value>',
      'a value for a field in every message: JSON or text; may be given several times',
      several,
    )
    .option('--time-field <name>', 'a 64-bit field that keeps when the message was published first, in nanoseconds')
    .option('--skip-damage', 'go on behind damage in the log, with the next message that is whole')
    .option(
      '--segment-bytes <size>',
      'size of a segment file, a multiple of 4 KiB (default: as the old topic)',
      segmentSize,
    )
    .option('--max-payload <size>', 'the largest value (default: as the old topic)', payloadSize)
    .action(async (from: string, to: string, options: MigrateOptions) => {
      const { dir } = globalsOf(command)
      const target = options.to ?? dir
      for (const place of [dir, target]) requireFiles(place)
      await withPlace(dir, false, (old) =>
        target === dir
          ? migrate(session, old, from, old, to, options)
          : withPlace(target, true, (now) => migrate(session, old, from, now, to, options)),
      )
    })
  withHelp(
    command,
    `
hermes topics migrate quotes quotes2 --schema '{"bid":"f64","ask":"f64","size":"u64"}'
hermes topics migrate quotes quotes2 --schema new.json --rename px=price --set 'venue=XNYS'
hermes topics migrate orders orders-packed --codec msgpack
hermes topics migrate trades trades --to /data2/hermes --segment-bytes 1GiB`,
  )
}

/** How far a copy has come is kept beside the new topic, and who copies has to be alone with it. */
function requireFiles(place: string): void {
  const [scheme] = /^(tcp|tls|wss?|nats|ring):/i.exec(place) ?? []
  if (scheme === undefined) return
  const advice: Readonly<Record<string, string>> = {
    'ring:': 'A ring keeps no messages to copy.',
    'nats:': 'Of a topic in a cluster, make a mirror in a directory (`hermes mirror`), and migrate that.',
  }
  throw new HermesError(
    'UNSUPPORTED',
    `\`hermes topics migrate\` works with a directory or shm:name, not with ${place}. ${advice[scheme.toLowerCase()] ?? "Run it on the broker's machine, with --dir: the broker may go on serving meanwhile."}`,
  )
}

async function migrate(
  session: Session,
  old: Hermes,
  from: string,
  now: Hermes,
  to: string,
  options: MigrateOptions,
): Promise<void> {
  const info = await needTopic(old, from)
  const conversion = await conversionOf(info, options)
  const { segmentBytes = info.segmentBytes, maxPayload = info.maxPayloadBytes } = options
  const progress = new Progress(session, 1)
  const begun = performance.now()
  let done: Copied
  try {
    const { copyTopic } = await import('../migrate/copy.js')
    done = await copyTopic({
      from: { hermes: old, info },
      to: {
        hermes: now,
        topic: to,
        settings: topicSettings({ durability: 'written', segmentBytes, maxPayload }, undefined),
      },
      conversion,
      markPath: await markFile(now.place, to),
      skipDamage: options.skipDamage === true,
      signal: session.signal,
      onProgress: (read, messages, total) => {
        const ms = performance.now() - begun
        progress.show(
          read / Math.max(1, total),
          `${grouped(messages)} messages, ${grouped((messages * 1000) / Math.max(1, ms))}/s`,
        )
      },
    })
  } catch (error) {
    // Stopped before there was anything to copy; the exit code tells of the signal.
    if (session.stopping && error instanceof HermesError && error.code === 'ABORTED') return
    throw error
  } finally {
    progress.clear()
  }
  const ms = performance.now() - begun
  const left = Math.max(0, (await old.info(from)).nextSequence - done.nextSource)
  const { copied, isResumed, lastSequence } = done
  if (session.json)
    return session.out.line(JSON.stringify({ from, to, copied, resumed: isResumed, lastSequence, left, ms }))
  const on = isResumed ? ', going on where it had ended' : ''
  session.note(`copied ${rateText(copied, ms)} from ${from} to ${to}${on}`)
  if (left > 0)
    session.note(`${from} holds ${counted(left, 'sequence')} more: run the same command again for what came meanwhile`)
}
