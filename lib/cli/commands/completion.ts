import { Argument, type Command } from 'commander'
import { completionScript, shells } from '../completion.js'
import type { Session } from '../session.js'
import { withHelp } from './common.js'

export function registerCompletion(program: Command, session: Session): void {
  const command = program
    .command('completion')
    .summary('print a completion script for a shell')
    .description('Prints a script that completes commands, options, their values and topic names.')
    .addArgument(new Argument('<shell>').choices(shells))
    .action((shell: (typeof shells)[number]) => {
      for (const line of completionScript(shell, program)) session.out.line(line)
    })
  withHelp(
    command,
    `
source <(hermes completion bash)
hermes completion zsh > "\${fpath[1]}/_hermes"
hermes completion fish > ~/.config/fish/completions/hermes.fish`,
  )
}
