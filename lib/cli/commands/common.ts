import { type Command, Option } from 'commander'
import type { TopicOptions } from '../../client/topic-options.js'
import { waits } from '../../client/wait.js'
import { type PublisherDurability, publisherDurabilities, type Retention, type TopicInfo } from '../../model/topic.js'
import { duration, integer, payloadSize, positive, segmentSize, size, timerDuration } from '../arguments.js'
import { exitTable } from '../exit-codes.js'
import { codecNames, encodings } from '../format.js'
import { durationText } from '../text-format.js'

/** Options that every command has. They stand at the program, and may be written before or behind the command. */
export interface GlobalOptions {
  /** A directory, shm:name, or a broker's URL. */
  readonly dir: string
  readonly json: boolean
  readonly quiet: boolean
}

export const defaultDir = './hermes-data'

/** The end of each help page. */
export function withHelp(command: Command, examples: string): Command {
  const text = examples
    .trim()
    .split('\n')
    .map((line) => `  ${line}`.trimEnd())
    .join('\n')
  return command.addHelpText('after', `\nExamples:\n${text}\n\nExit codes:\n${exitTable()}`)
}

export function globalsOf(command: Command): GlobalOptions {
  const { url, ...options } = command.optsWithGlobals<GlobalOptions & { readonly url?: string }>()
  return url === undefined ? options : { ...options, dir: url }
}

/** What `--timeout` of a command, or of the one that it stands in, says to a broker. */
export function boundsOf(command: Command): { connectTimeoutMs?: number; requestTimeoutMs?: number } {
  const { timeout } = command.optsWithGlobals<{ readonly timeout?: number }>()
  return timeout === undefined ? {} : { connectTimeoutMs: timeout, requestTimeoutMs: timeout }
}

export function codecOption(what: string): Option {
  return new Option('-c, --codec <name>', what).choices(codecNames)
}

export function encodingOption(): Option {
  return new Option(
    '--encoding <name>',
    'how the bytes of the raw codec stand in a line (default: utf8; in --json: base64)',
  ).choices(encodings)
}

/** An option that takes a time. Its default is shown as a time is written: a bare number there would mean seconds. */
export function timeOption(flags: string, what: string, defaultMs?: number, parse = timerDuration): Option {
  const option = new Option(flags, what).argParser(parse)
  return defaultMs === undefined ? option : option.default(defaultMs, durationText(defaultMs))
}

export function waitOption(): Option {
  return new Option('-w, --wait <how>', 'how to wait: spin and yield keep a core busy, park sleeps')
    .choices(waits)
    .default('adaptive')
}

export interface PublishOptions {
  readonly durability: PublisherDurability
  readonly exclusive?: boolean
  readonly rate?: number
  readonly count?: number
  readonly segmentBytes?: number
  readonly maxPayload?: number
  readonly retainBytes?: number
  readonly retainAge?: number
  readonly waitForGroups?: number
}

/** The options of the commands that publish. */
export function withPublishing(command: Command): Command {
  return withTopicSettings(
    command
      .addOption(
        new Option(
          '--durability <level>',
          'what must hold before the command ends: written survives the end of any process, synced the loss of power, replicated (in a cluster) the loss of servers',
        )
          .choices(publisherDurabilities)
          .default('written'),
      )
      .option('--exclusive', 'be the only publisher of the topic, or fail')
      .option('-r, --rate <n>', 'at most so many messages per second', positive)
      .option('-n, --count <n>', 'stop after so many messages', integer(1)),
  )
}

/** What a topic is made with. */
export function withTopicSettings(command: Command): Command {
  return withRetention(
    command
      .optionsGroup('Options for a topic that does not exist yet:')
      .option('--segment-bytes <size>', 'size of a segment file, a multiple of 4 KiB (default: 100MiB)', segmentSize)
      .option('--max-payload <size>', 'the largest value (default: 64KiB)', payloadSize)
      .optionsGroup('Options for a new topic or an existing one:'),
  )
}

export function withRetention(command: Command): Command {
  return command
    .option('--retain-bytes <size>', 'keep about so much, by whole segments, oldest out first', size)
    .option('--retain-age <time>', 'keep messages for about so long: 12h, 7d', duration)
    .option(
      '--wait-for-groups <size>',
      'keep what groups have not settled all the same, as long as the topic takes no more than this',
      size,
    )
}

/** What the options say of retention; `undefined` if nothing. What they leave out stays as it was. */
export function retentionOf(
  { retainBytes, retainAge, waitForGroups }: Partial<PublishOptions>,
  before: Retention = {},
): Retention | undefined {
  if (retainBytes === undefined && retainAge === undefined && waitForGroups === undefined) return undefined
  return {
    ...before,
    ...(retainBytes === undefined ? {} : { bytes: retainBytes }),
    ...(retainAge === undefined ? {} : { ageMs: retainAge }),
    ...(waitForGroups === undefined ? {} : { waitForGroups }),
  }
}

/** Settings for `hermes.topic()`. */
export function topicSettings(
  options: PublishOptions,
  info: TopicInfo | undefined,
): Omit<TopicOptions<never, unknown, unknown>, 'codec'> {
  const { segmentBytes, maxPayload } = options
  const retention = retentionOf(options, info?.retention)
  return {
    ...(segmentBytes === undefined ? {} : { segmentBytes }),
    ...(maxPayload === undefined ? {} : { maxPayloadBytes: maxPayload }),
    ...(retention === undefined ? {} : { retention }),
  }
}
