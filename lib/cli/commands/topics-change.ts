import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { TopicInfo } from '../../model/topic.js'
import { type FormatOptions, publishFormat } from '../format.js'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import {
  boundsOf,
  codecOption,
  globalsOf,
  type PublishOptions,
  retentionOf,
  topicSettings,
  withHelp,
  withRetention,
  withTopicSettings,
} from './common.js'

interface AlterOptions extends PublishOptions {
  readonly keepAll?: boolean
}

export function registerTopicsCreate(topics: Command, session: Session): void {
  const command = topics
    .command('create')
    .summary('make a topic')
    .description(
      'Makes a topic in advance. A topic that exists must have this codec and these sizes; only its retention changes, if one is given.',
    )
    .argument('<topic>')
    .addOption(codecOption('what the messages are (default: json; struct with --schema)'))
    .option('-s, --schema <file>', 'the layout of a struct topic: a file, or JSON')
  withTopicSettings(command).action(async (topic: string, options: FormatOptions & PublishOptions) => {
    const { dir } = globalsOf(command)
    const { codec } = await publishFormat(options, undefined, 'json')
    const settings = topicSettings(options, undefined)
    const info = await withPlace(
      dir,
      true,
      (hermes) => hermes.admin.createTopic(topic, { codec, ...settings }),
      boundsOf(command),
    )
    told(session, info, `${topic}: there, with codec ${info.codec.name}`)
  })
  withHelp(
    command,
    `
hermes topics create orders
hermes topics create quotes --codec struct --schema quotes.schema.json --segment-bytes 16MiB
hermes topics create orders --retain-bytes 1GiB --wait-for-groups 4GiB --url tcp://127.0.0.1:9000`,
  )
}

export function registerTopicsAlter(topics: Command, session: Session): void {
  const command = topics
    .command('alter')
    .summary('change what a topic keeps')
    .description(
      'Changes the retention of a topic, at once and for all its publishers. Limits that are not given stay as they are.',
    )
    .argument('<topic>')
  withRetention(command)
    .option('--keep-all', 'without limits: nothing is removed')
    .action(async (topic: string, options: AlterOptions) => {
      const { dir } = globalsOf(command)
      if (options.keepAll === true && retentionOf(options) !== undefined)
        throw new HermesError('INVALID_ARGUMENT', 'Give limits or --keep-all, not both.')
      const info = await withPlace(
        dir,
        false,
        async (hermes) => {
          const { retention: before } = await needTopic(hermes, topic)
          const retention = options.keepAll === true ? {} : retentionOf(options, before)
          if (retention === undefined)
            throw new HermesError(
              'INVALID_ARGUMENT',
              'Say what to change: --retain-bytes, --retain-age, --wait-for-groups or --keep-all.',
            )
          return hermes.admin.alterTopic(topic, { retention })
        },
        boundsOf(command),
      )
      told(session, info, `${topic}: altered`)
    })
  withHelp(
    command,
    `
hermes topics alter orders --retain-age 7d
hermes topics alter orders --keep-all`,
  )
}

export function registerTopicsDelete(topics: Command, session: Session): void {
  const command = topics
    .command('delete')
    .summary('delete a topic with all its messages')
    .description(
      'Deletes a topic: its messages, groups and positions. Only a backup brings them back. Refused while any process has the topic open, unless --force is given: then its users get TOPIC_DELETED. ' +
        'A topic that a broker has open is deleted through the broker (--url).',
    )
    .argument('<topic>')
    .option('-f, --force', 'also while it is in use')
    .action(async (topic: string, { force = false }: { readonly force?: boolean }) => {
      const { dir } = globalsOf(command)
      await withPlace(
        dir,
        false,
        async (hermes) => {
          try {
            await hermes.admin.deleteTopic(topic, { force })
          } catch (error) {
            // A topic of another name may have been meant.
            if (error instanceof HermesError && error.code === 'NOT_FOUND') await needTopic(hermes, topic)
            throw error
          }
        },
        boundsOf(command),
      )
      if (session.json) session.out.line(JSON.stringify({ topic, deleted: true }))
      else session.out.line(`${topic}: deleted`)
    })
  withHelp(
    command,
    `
hermes topics delete orders
hermes topics delete orders --force --url tcp://127.0.0.1:9000`,
  )
}

function told(session: Session, info: TopicInfo, text: string): void {
  session.out.line(session.json ? JSON.stringify(info) : text)
}
