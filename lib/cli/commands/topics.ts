import type { Command } from 'commander'
import type { Hermes } from '../../hermes.js'
import { withPlace } from '../place.js'
import type { Session } from '../session.js'
import { bytesText, table } from '../words.js'
import { globalsOf, withHelp } from './common.js'

export function registerTopics(program: Command, session: Session): void {
  const command = program
    .command('topics')
    .summary('list the topics')
    .description('Lists the topics by name. With --json, one object per line with all that `hermes info` knows.')
    .option('-l, --long', 'a table with codec, messages, size and open publishers')
    .action(async (options: { readonly long?: boolean }) => {
      const { dir } = globalsOf(command)
      await withPlace(dir, false, async (hermes) => {
        const names = await hermes.topics()
        if (session.json || options.long === true) return list(session, hermes, names)
        for (const name of names) session.out.line(name)
      })
    })
  withHelp(
    command,
    `
hermes topics
hermes topics --long
hermes topics --json --dir /var/lib/market | jq -r .name`,
  )
}

/** Also lists what it can when one of the topics can't be read; then fails with the first failure. */
async function list(session: Session, hermes: Hermes, names: readonly string[]): Promise<void> {
  const rows: (string | number)[][] = []
  let failure: unknown
  for (const name of names) {
    try {
      const info = await hermes.info(name)
      if (session.json) session.out.line(JSON.stringify(info))
      const { codec, nextSequence, firstSequence, bytes, publishers } = info
      rows.push([name, codec.name, nextSequence - firstSequence, bytesText(bytes), publishers])
    } catch (error) {
      if (failure !== undefined) session.fail(failure)
      failure = error
    }
  }
  if (!session.json && rows.length > 0) {
    const [head = '', ...lines] = table([['TOPIC', 'CODEC', 'MESSAGES', 'SIZE', 'PUBLISHERS'], ...rows])
    session.out.line(session.bold(head))
    for (const line of lines) session.out.line(line)
  }
  if (failure !== undefined) throw failure
}
