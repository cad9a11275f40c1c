import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { TopicInfo } from '../../model/topic.js'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { bytesText, grouped, table } from '../text-format.js'
import { globalsOf, withHelp } from './common.js'

export function registerInfo(program: Command, session: Session): void {
  const command = program
    .command('info')
    .summary('show what is known of a topic')
    .description('Shows codec, sequences, size, retention and publishers of a topic.')
    .argument('<topic>')
    .option('-s, --schema', 'print the layout of a struct topic as JSON: what --schema takes, and other programs read')
    .action(async (topic: string, options: { readonly schema?: boolean }) => {
      const { dir } = globalsOf(command)
      const info = await withPlace(dir, false, (hermes) => needTopic(hermes, topic))
      if (options.schema === true) return printSchema(session, info)
      if (session.json) return session.out.line(JSON.stringify(info))
      for (const line of table(rowsOf(info))) session.out.line(line)
    })
  withHelp(
    command,
    `
hermes info quotes
hermes info quotes --json | jq .nextSequence
hermes info quotes --schema > quotes.schema.json`,
  )
}

function printSchema(session: Session, { name, codec }: TopicInfo): void {
  if (codec.schema === null || codec.schema === undefined) {
    throw new HermesError(
      'CODEC_MISMATCH',
      `Topic '${name}' has no schema: its codec is '${codec.name}', and only struct topics have one.`,
      { details: { topic: name, found: codec.name } },
    )
  }
  session.out.line(JSON.stringify(codec.schema, undefined, session.json ? undefined : 2))
}

function rowsOf(info: TopicInfo): [string, string][] {
  const { codec, retention, firstSequence, nextSequence, watermarks } = info
  const limits = [
    ...(retention.bytes === undefined ? [] : [bytesText(retention.bytes)]),
    ...(retention.ageMs === undefined ? [] : [`${grouped(retention.ageMs / 1000)} s`]),
  ]
  const size = `${bytesText(info.bytes)} in ${info.segments} of ${bytesText(info.segmentBytes)}`
  return [
    ['topic', info.name],
    ['codec', codec.name],
    ['fingerprint', codec.fingerprint],
    ['created', new Date(info.createdMs).toISOString()],
    ['messages', grouped(nextSequence - firstSequence)],
    ['first sequence', String(firstSequence)],
    ['next sequence', String(nextSequence)],
    ['claimed before', String(watermarks.claimed)],
    ['written before', String(watermarks.written)],
    ['synced before', String(watermarks.synced)],
    ...(watermarks.replicated === undefined
      ? []
      : [['replicated before', String(watermarks.replicated)] as [string, string]]),
    ['used', bytesText(info.usedBytes)],
    ['segments', size],
    ['largest payload', bytesText(info.maxPayloadBytes)],
    ['retention', limits.length === 0 ? 'unlimited' : limits.join(', ')],
    ['publishers', String(info.publishers)],
    ['disk', info.diskAlarm ? 'ALARM: too little room, publishing is refused' : 'enough room'],
    ...(info.syncFailure === undefined
      ? []
      : [['sync', `FAILED (${info.syncFailure}): close all publishers, then open one`] as [string, string]]),
  ]
}
