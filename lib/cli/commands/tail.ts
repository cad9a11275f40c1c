import type { Command } from 'commander'
import type { Wait } from '../../client/wait.js'
import { integer } from '../arguments.js'
import { follow } from '../follow.js'
import { type FormatOptions, readFormat } from '../format.js'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { printer } from '../show.js'
import { codecOption, encodingOption, globalsOf, waitOption, withHelp } from './common.js'

interface TailOptions extends FormatOptions {
  readonly count: number
  readonly follow?: boolean
  readonly meta?: boolean
  readonly skipDamage?: boolean
  readonly wait: Wait
}

export function registerTail(program: Command, session: Session): void {
  const command = program
    .command('tail')
    .summary("print a topic's last messages")
    .description('Prints the last messages of a topic; with --follow, those that come then, too.')
    .argument('<topic>')
    .option('-n, --count <n>', 'how many of the last messages', integer(0), 10)
    .option('-f, --follow', 'go on with new messages until interrupted')
    .option('-m, --meta', 'print sequence and time before each value, with tabs between')
    .option('--skip-damage', 'go on behind damage in the log, with the next message that is whole')
    .addOption(waitOption())
    .addOption(codecOption('raw shows the payloads of any topic; others must be what the topic has'))
    .addOption(encodingOption())
    .action(async (topic: string, options: TailOptions) => {
      const { dir } = globalsOf(command)
      session.out.watchReader()
      await withPlace(dir, false, async (hermes) => {
        const info = await needTopic(hermes, topic)
        const format = readFormat(options, info)
        const first = Math.max(info.firstSequence, info.nextSequence - options.count)
        const subscriber = await hermes.topic(topic, { codec: format.codec, create: false }).subscriber({
          from: first < info.nextSequence ? first : 'latest',
          wait: options.wait,
          onDamage: options.skipDamage === true ? 'skip' : 'error',
        })
        await follow(subscriber, {
          handler: printer(session, format, options.meta === true),
          out: session.out,
          signal: session.signal,
          until: options.follow === true ? undefined : info.nextSequence,
        })
      })
    })
  withHelp(
    command,
    `
hermes tail quotes
hermes tail quotes --count 1 --meta
hermes tail quotes --count 0 --follow
hermes tail quotes --json | jq .value`,
  )
}
