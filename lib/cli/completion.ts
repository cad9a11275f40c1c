// biome-ignore-all lint/suspicious/noTemplateCurlyInString: in scripts of shells they mean what they say

import type { Command, Option } from 'commander'

/*
 * Completion scripts, made of the commands as they are declared: nothing to keep in step by hand. Topic names are asked
 * of `hermes topics` when they are needed.
 */

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

interface Described {
  readonly name: string
  readonly summary: string
  readonly options: readonly Option[]
  /** Of its arguments: `topic`, `file`, a list of choices, or nothing to offer. */
  readonly operands: readonly (readonly string[] | 'topic' | 'file' | 'none')[]
}

export function completionScript(shell: Shell, program: Command): string[] {
  const help = program.createHelp()
  const globals = help.visibleOptions(program)
  const commands = program.commands.map((command): Described => {
    const own = help.visibleOptions(command).filter((option) => option.long !== '--help')
    const operands = command.registeredArguments.map((argument) => {
      if (argument.argChoices !== undefined) return argument.argChoices
      const name = argument.name()
      return name === 'topic' || name === 'file' ? name : 'none'
    })
    return { name: command.name(), summary: command.summary(), options: own, operands }
  })
  commands.push({
    name: 'help',
    summary: 'show the help of a command',
    options: [],
    operands: [commands.map(({ name }) => name)],
  })
  return { bash, zsh, fish }[shell](commands, globals)
}

function flags(options: readonly Option[]): string[] {
  return options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined)
}

function takesValue(option: Option): boolean {
  return option.required || option.optional
}

const fileOptions = ['--schema', '--dir']

function bash(commands: readonly Described[], globals: readonly Option[]): string[] {
  const valued = new Map<string, string>()
  for (const option of [...globals, ...commands.flatMap(({ options }) => options)]) {
    if (!takesValue(option)) continue
    const pattern = flags([option]).join('|')
    const reply = option.argChoices !== undefined ? `compgen -W '${option.argChoices.join(' ')}' -- "$word"` : ''
    const files = fileOptions.includes(option.long ?? '') ? 'compgen -f -- "$word"' : 'true'
    // An option of two commands may have a value in one of them only: the first one with choices counts.
    if (reply !== '' || !valued.has(pattern)) valued.set(pattern, reply === '' ? files : reply)
  }
  const cases = [...valued].map(([pattern, reply]) => `    ${pattern}) COMPREPLY=($(${reply})); return ;;`)
  const skips = [...valued.keys()].join('|')
  const perCommand = commands.map(
    ({ name, options }) => `    ${name}) flags='${[...flags(options), ...flags(globals)].join(' ')}' ;;`,
  )
  const operands = commands.flatMap(({ name, operands: list }) =>
    list.flatMap((operand, index) => {
      if (operand === 'none') return []
      const reply =
        operand === 'topic'
          ? 'compgen -W "$(_hermes_topics)" -- "$word"'
          : operand === 'file'
            ? 'compgen -f -- "$word"'
            : `compgen -W '${operand.join(' ')}' -- "$word"`
      return [`    ${name}:${index}) COMPREPLY=($(${reply})) ;;`]
    }),
  )
  return [
    '# bash completion for hermes',
    '_hermes_topics() {',
    '  if [ -n "$dir" ]; then hermes topics --dir "$dir" 2>/dev/null; else hermes topics 2>/dev/null; fi',
    '}',
    '_hermes() {',
    '  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}',
    "  local command='' dir='' flags='' operand=0 at=1",
    '  COMPREPLY=()',
    '  case $previous in',
    ...cases,
    '  esac',
    '  while [ $at -lt $COMP_CWORD ]; do',
    '    case ${COMP_WORDS[at]} in',
    '      -d|--dir) at=$((at + 1)); dir=${COMP_WORDS[at]} ;;',
    `      ${skips}) at=$((at + 1)) ;;`,
    '      -*) ;;',
    '      *) if [ -z "$command" ]; then command=${COMP_WORDS[at]}; else operand=$((operand + 1)); fi ;;',
    '    esac',
    '    at=$((at + 1))',
    '  done',
    '  case $command in',
    `    '') flags='${flags(globals).join(' ')}' ;;`,
    ...perCommand,
    '  esac',
    '  if [[ $word == -* ]]; then',
    '    COMPREPLY=($(compgen -W "$flags" -- "$word"))',
    '    return',
    '  fi',
    '  case $command:$operand in',
    `    :*) COMPREPLY=($(compgen -W '${commands.map(({ name }) => name).join(' ')}' -- "$word")) ;;`,
    ...operands,
    '  esac',
    '}',
    'complete -F _hermes hermes',
  ]
}

/** For use between single quotes, in a place where zsh gives brackets and colons a meaning. */
function zshText(text: string): string {
  return text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&')
}

function zshOption(option: Option): string {
  const names = flags([option])
  const value = !takesValue(option)
    ? ''
    : option.argChoices !== undefined
      ? `:value:(${option.argChoices.join(' ')})`
      : fileOptions.includes(option.long ?? '')
        ? ':file:_files'
        : ':value: '
  const text = zshText(option.description)
  if (names.length === 1) return `'${names[0]}[${text}]${value}'`
  return `'(${names.join(' ')})'{${names.join(',')}}'[${text}]${value}'`
}

function zsh(commands: readonly Described[], globals: readonly Option[]): string[] {
  const cases = commands.flatMap(({ name, options, operands }) => {
    const places = operands.map((operand, index) => {
      if (operand === 'topic') return `'${index + 1}:topic:_hermes_topics'`
      if (operand === 'file') return `'${index + 1}:file:_files'`
      return operand === 'none' ? "'*:value: '" : `'${index + 1}:value:(${operand.join(' ')})'`
    })
    const parts = [...options.map(zshOption), '$globals', ...places].map((part) => `        ${part} \\`)
    return [`      ${name})`, '        _arguments \\', ...parts, '        && return 0', '        ;;']
  })
  return [
    '#compdef hermes',
    '_hermes_topics() {',
    '  local -a found',
    '  found=(${(f)"$(hermes topics ${opt_args[--dir]:+--dir} ${opt_args[--dir]} 2>/dev/null)"})',
    "  _describe 'topic' found",
    '}',
    '_hermes() {',
    '  local curcontext=$curcontext state line',
    '  typeset -A opt_args',
    '  local -a globals commands',
    '  globals=(',
    ...globals.map((option) => `    ${zshOption(option)}`),
    '  )',
    '  commands=(',
    ...commands.map(({ name, summary }) => `    '${name}:${zshText(summary)}'`),
    '  )',
    "  _arguments -C $globals '1:command:->command' '*::argument:->argument' && return 0",
    '  case $state in',
    "    command) _describe 'command' commands ;;",
    '    argument)',
    '      case $words[1] in',
    ...cases.map((line) => `  ${line}`),
    '      esac',
    '      ;;',
    '  esac',
    '}',
    'if [ "$funcstack[1]" = _hermes ]; then _hermes "$@"; else compdef _hermes hermes; fi',
  ]
}

function fishText(text: string): string {
  return `'${text.replace(/\\/g, '\\\\').replace(/'/g, "\\'")}'`
}

function fishOption(option: Option, condition: string): string {
  const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`
  const long = option.long === undefined ? '' : ` -l ${option.long.slice(2)}`
  const value = !takesValue(option)
    ? ''
    : option.argChoices !== undefined
      ? ` -x -a ${fishText(option.argChoices.join(' '))}`
      : fileOptions.includes(option.long ?? '')
        ? ' -r -F'
        : ' -x'
  return `complete -c hermes${condition}${short}${long}${value} -d ${fishText(option.description)}`
}

function fish(commands: readonly Described[], globals: readonly Option[]): string[] {
  const all = commands.map(({ name }) => name).join(' ')
  return [
    '# fish completion for hermes',
    'complete -c hermes -f',
    ...globals.map((option) => fishOption(option, '')),
    ...commands.map(
      ({ name, summary }) =>
        `complete -c hermes -n 'not __fish_seen_subcommand_from ${all}' -a ${name} -d ${fishText(summary)}`,
    ),
    ...commands.flatMap(({ name, options, operands }) => {
      const condition = ` -n '__fish_seen_subcommand_from ${name}'`
      const offers = operands.flatMap((operand) => {
        if (operand === 'topic') return [`complete -c hermes${condition} -a '(hermes topics 2>/dev/null)'`]
        if (operand === 'file') return [`complete -c hermes${condition} -F`]
        return operand === 'none' ? [] : [`complete -c hermes${condition} -a ${fishText(operand.join(' '))}`]
      })
      return [...options.map((option) => fishOption(option, condition)), ...offers]
    }),
  ]
}
