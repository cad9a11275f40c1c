import type { Command } from 'commander'
import type { Hermes } from '../../client/hermes.js'
import { timerDuration } from '../arguments.js'
import { withPlace } from '../place.js'
import type { Session } from '../session.js'
import { bytesText, table } from '../text-format.js'
import { boundsOf, globalsOf, withHelp } from './common.js'
import { registerMigrate } from './migrate.js'
import { registerTopicsAlter, registerTopicsCreate, registerTopicsDelete } from './topics-change.js'

export function registerTopics(program: Command, session: Session): void {
  const command = program
    .command('topics')
    .summary('list, make, alter and delete topics')
    .description(
      'Lists the topics by name. With --json, one object per line with all that `hermes info` knows. Its subcommands make, alter and delete topics.',
    )
    .option('-l, --long', 'a table with codec, messages, bytes in use, size of the files and open publishers')
    .option('--timeout <time>', 'how long a broker may take to answer (default: 30s)', timerDuration)
    .action(() => print(session, command))
  withHelp(
    command,
    `
hermes topics
hermes topics --long
hermes topics create orders --codec json --retain-age 7d
hermes topics delete orders
hermes topics --json --dir /var/lib/market | jq -r .name`,
  )
  registerTopicsList(command, session)
  registerTopicsCreate(command, session)
  registerTopicsAlter(command, session)
  registerTopicsDelete(command, session)
  registerMigrate(command, session)
}

function registerTopicsList(topics: Command, session: Session): void {
  const command = topics.command('list').summary('list the topics').description('Does what `hermes topics` does.')
  command.action(() => print(session, command))
  withHelp(command, '\nhermes topics list --long')
}

/** Options stand at `topics`, also for its list. */
async function print(session: Session, command: Command): Promise<void> {
  const { dir } = globalsOf(command)
  const { long } = command.optsWithGlobals<{ readonly long?: boolean }>()
  const show = async (hermes: Hermes) => {
    const names = await hermes.topics()
    if (session.json || long === true) return list(session, hermes, names)
    for (const name of names) session.out.line(name)
  }
  await withPlace(dir, false, show, boundsOf(command))
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
