import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { type Compatibility, compareFiles, onlyAdds } from '../compatibility.js'
import type { Session } from '../session.js'
import { withHelp } from './common.js'

export function registerSchema(program: Command, session: Session): void {
  const schema = program
    .command('schema')
    .summary('compare layouts of topics')
    .description(
      'Compares layouts of topics, as files: for a build that must notice a change that a topic would refuse.',
    )
  const command = schema
    .command('check')
    .summary('say whether a topic of one layout takes programs with another')
    .description(
      'Says whether a topic of the old layout takes publishers and subscribers with the new one. Each file holds what `hermes info <topic> --schema` or ' +
        '`hermes info <topic> --json` prints, names with types, or the version of a validated codec. What is not compatible ends with 8, and the fields that differ are named.',
    )
    .argument('<old>', 'a JSON file: the layout that the topic has')
    .argument('<new>', 'a JSON file: the layout that a program is going to use')
    .action(async (old: string, now: string) => {
      const found = await compareFiles(old, now)
      if (session.json) session.out.line(JSON.stringify(found))
      else if (found.compatible) session.out.line(sentence(found, old, now))
      if (found.compatible) return
      const hint = onlyAdds(found)
        ? ' Fields that are added need a default for older messages: old.extend({ field: withDefault(type, value) }).'
        : ' A topic keeps its layout but for fields that are added at its end; for another one, `hermes topics migrate` copies into a new topic.'
      throw new HermesError(
        'CODEC_MISMATCH',
        `${now} is not compatible with ${old}: ${found.reasons.join('; ')}.${hint}`,
        {
          details: { old, new: now, differences: found.differences, reasons: found.reasons },
        },
      )
    })
  withHelp(
    command,
    `
hermes info quotes --schema > quotes.schema.json
hermes schema check quotes.schema.json build/quotes.schema.json
hermes schema check old.json new.json --json | jq .relation`,
  )
}

function sentence({ relation, added }: Compatibility, old: string, now: string): string {
  const fields = added.map(({ field, wanted, found }) => `${field} ${wanted ?? found}`).join(', ')
  const byThese = fields === '' ? '' : ` by ${fields}`
  if (relation === 'same') return `compatible: ${now} has the layout of ${old}`
  return relation === 'newer'
    ? `compatible: ${now} has grown from ${old}${byThese}`
    : `compatible: ${now} is an earlier layout of ${old}, which has grown${byThese}`
}
