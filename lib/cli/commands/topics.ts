import type { Command } from 'commander'
import type { Hermes } from '../../client/hermes.js'
import { timerDuration } from '../arguments.js'
import { withPlace } from '../place.js'
import type { Session } from '../session.js'
import { bytesText, table } from '../text-format.js'
import { globalsOf, withHelp } from './common.js'
import { registerMigrate } from './migrate.js'

export function registerTopics(program: Command, session: Session): void {
  const command = program
    .command('topics')
    .summary('list the topics')
    .description('Lists the topics by name. With --json, one object per line with all that `hermes info` knows.')
    .option('-l, --long', 'a table with codec, messages, bytes in use, size of the files and open publishers')
    .option('--timeout <time>', 'how long a broker may take to answer (default: 30s)', timerDuration)
    .action(async (options: { readonly long?: boolean; readonly timeout?: number }) => {
      const { dir } = globalsOf(command)
      const { timeout } = options
      const bounds = timeout === undefined ? {} : { connectTimeoutMs: timeout, requestTimeoutMs: timeout }
      const print = async (hermes: Hermes) => {
        const names = await hermes.topics()
        if (session.json || options.long === true) return list(session, hermes, names)
        for (const name of names) session.out.line(name)
      }
      await withPlace(dir, false, print, bounds)
    })
  withHelp(
    command,
    `
hermes topics
hermes topics --long
hermes topics --json --dir /var/lib/market | jq -r .name`,
  )
  registerMigrate(command, session)
}

/** Also lists what it can when one of the topics can't be read; then fails with the first failure. */
async function list(session: Session, hermes: Hermes, names: readonly string[]): Promise<void> {
  const rows: (string | number)[][] = []
  let failure: unknown
  for (const name of names) {
    try {
      const info = await hermes.info(name)
      if (session.json) session.out.line(JSON.stringify(info))
      const { codec, nextSequence, firstSequence, bytes, usedBytes, publishers } = info
      rows.push([name, codec.name, nextSequence - firstSequence, bytesText(usedBytes), bytesText(bytes), publishers])
    } catch (error) {
      if (failure !== undefined) session.fail(failure)
      failure = error
    }
  }
  if (!session.json && rows.length > 0) {
    const [head = '', ...lines] = table([['TOPIC', 'CODEC', 'MESSAGES', 'USED', 'SIZE', 'PUBLISHERS'], ...rows])
    session.out.line(session.bold(head))
    for (const line of lines) session.out.line(line)
  }
  if (failure !== undefined) throw failure
}
