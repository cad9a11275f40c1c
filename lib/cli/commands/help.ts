import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { likely } from '../../base/options.js'
import { withHelp } from './common.js'

/** In place of commander's own, which prints the whole page for a name that it doesn't know, and not what was wrong. */
export function registerHelp(program: Command): void {
  program.helpCommand(false)
  const command = program
    .command('help')
    .summary('show the help of a command')
    .description('Shows what a command does, its options and examples; without a command, what there is.')
    .argument('[command...]')
    .action((path: readonly string[]) => {
      let command = program
      for (const name of path) command = commandOf(command, name)
      command.outputHelp()
    })
  withHelp(
    command,
    `
hermes help
hermes help replay
hermes help schema check`,
  )
}

/** @throws HermesError `INVALID_ARGUMENT`, which names those that there are, or the one that was meant */
export function commandOf(parent: Command, name: string): Command {
  const found = parent.commands.find((one) => one.name() === name)
  if (found !== undefined) return found
  const names = parent.commands.map((one) => one.name())
  const within = parent.parent === null ? '' : ` of \`hermes ${parent.name()}\``
  if (names.length === 0)
    throw new HermesError('INVALID_ARGUMENT', `There is no command '${name}'${within}.`, { details: { command: name } })
  const meant = likely(name, names)
  const hint = meant === undefined ? `There are: ${names.join(', ')}.` : `Did you mean '${meant}'?`
  throw new HermesError('INVALID_ARGUMENT', `There is no command '${name}'${within}. ${hint}`, {
    details: { command: name, ...(meant === undefined ? {} : { likely: meant }) },
  })
}
