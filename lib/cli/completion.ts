// biome-ignore-all lint/suspicious/noTemplateCurlyInString: in scripts of shells they mean what they say

import type { Command, Option } from 'commander'

/*
 * Completion scripts, made of the commands as they are declared: nothing to keep in step by hand. Topic names are asked
 * of `hermes topics` when they are needed, of a broker for a second at most.
 */

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** What may stand somewhere: one of these choices, the name of a topic, a file or a folder, or anything else. */
type Kind = readonly string[] | 'topic' | 'file' | 'folder' | 'none'

interface Described {
  /** Of a command within another one: both, as `schema/check`. */
  readonly name: string
  /** The commands within it. */
  readonly inner: readonly string[]
  readonly summary: string
  readonly options: readonly Option[]
  readonly operands: readonly { readonly kind: Kind; readonly variadic: boolean }[]
}

export function completionScript(shell: Shell, program: Command): string[] {
  const help = program.createHelp()
  const globals = help.visibleOptions(program)
  const described = (command: Command, outer = ''): Described[] => {
    const own = help.visibleOptions(command).filter((option) => option.long !== '--help')
    const operands = command.registeredArguments.map((argument) => ({
      kind: argument.argChoices ?? operandKind(argument.name(), program),
      variadic: argument.variadic,
    }))
    const name = `${outer}${command.name()}`
    const inner = command.commands.map((one) => one.name())
    const all = inner.length === 0 ? operands : [{ kind: inner, variadic: false }, ...operands]
    const self = { name, inner, summary: command.summary(), options: own, operands: all }
    return [self, ...command.commands.flatMap((one) => described(one, `${name}/`))]
  }
  const commands = program.commands.flatMap((command) => described(command))
  return { bash, zsh, fish }[shell](commands, globals)
}

function operandKind(name: string, program: Command): Kind {
  if (name === 'command') return program.commands.map((command) => command.name())
  if (name === 'topic' || name === 'topics' || name === 'from') return 'topic'
  if (name === 'place' || name === 'to') return 'folder'
  return ['file', 'old', 'new'].includes(name) ? 'file' : 'none'
}

/** What an option takes; undefined for one that takes nothing. */
function valueKind(option: Option): Kind | undefined {
  if (!option.required && !option.optional) return undefined
  if (option.argChoices !== undefined) return option.argChoices
  const { long = '' } = option
  if (long === '--topic') return 'topic'
  if (long === '--from') return ['earliest', 'latest']
  if (long === '--until') return ['latest']
  if (long === '--dir' || long === '--in' || long === '--to') return 'folder'
  return long === '--schema' || long === '--config' || long.startsWith('--tls-') ? 'file' : 'none'
}

function flags(options: readonly Option[]): string[] {
  return options.flatMap(({ short, long }) => [short, long]).filter((flag) => flag !== undefined)
}

/** The commands that stand in no other one. */
function outermost(commands: readonly Described[]): Described[] {
  return commands.filter(({ name }) => !name.includes('/'))
}

function within(commands: readonly Described[]): Described[] {
  return commands.filter(({ name }) => name.includes('/'))
}

function bashReply(kind: Kind): string {
  if (kind === 'topic') return `compgen -W "$(_hermes_topics)" -- "$word"`
  if (kind === 'file') return 'compgen -f -- "$word"'
  if (kind === 'folder') return 'compgen -d -- "$word"'
  return kind === 'none' ? 'true' : `compgen -W '${kind.join(' ')}' -- "$word"`
}

function bash(commands: readonly Described[], globals: readonly Option[]): string[] {
  const valued: [pattern: string, kind: Kind][] = []
  const add = (command: string, options: readonly Option[]) => {
    for (const option of options) {
      const kind = valueKind(option)
      const pattern = flags([option]).map((flag) => `${command}:${flag}`)
      if (kind !== undefined) valued.push([pattern.join('|'), kind])
    }
  }
  for (const { name, options } of commands) add(name, options)
  add('*', globals)
  const perCommand = commands.map(
    ({ name, options }) => `    ${name}) flags='${[...flags(options), ...flags(globals)].join(' ')}' ;;`,
  )
  const operands = commands.flatMap(({ name, operands: list }) =>
    list.flatMap(({ kind, variadic }, index) =>
      kind === 'none' ? [] : [`    ${name}:${variadic ? '*' : index}) COMPREPLY=($(${bashReply(kind)})) ;;`],
    ),
  )
  return [
    '# bash completion for hermes',
    '_hermes_topics() {',
    '  local place=()',
    '  if [ -n "$dir" ]; then place=(--dir "${dir/#\\~/$HOME}"); fi',
    '  if [ -n "$url" ]; then place=(--url "$url"); fi',
    '  hermes topics --timeout 1s "${place[@]}" 2>/dev/null',
    '}',
    '_hermes_takes_value() {',
    '  case $1 in',
    `    ${valued.map(([pattern]) => pattern).join('|')}) return 0 ;;`,
    '  esac',
    '  return 1',
    '}',
    '_hermes_within() {',
    '  case $1 in',
    `    ${within(commands)
      .map(({ name }) => name)
      .join('|')}) return 0 ;;`,
    '  esac',
    '  return 1',
    '}',
    '_hermes() {',
    "  local words=() word='' at",
    '  # bash splits at colons and equal signs: tcp://host:9000 comes in five pieces.',
    '  for ((at = 0; at <= COMP_CWORD; at++)); do',
    '    word=${COMP_WORDS[at]}',
    '    if ((at > 1)) && [[ $word == :* || ${words[-1]} == *: ]]; then',
    '      words[-1]+=$word',
    '    elif ((at > 1)) && [[ $word == = && ${words[-1]} == --* ]]; then',
    '      if ((at == COMP_CWORD)); then words+=("");  fi',
    '    else',
    '      words+=("$word")',
    '    fi',
    '  done',
    '  word=${words[-1]}',
    "  local previous=${words[-2]} command='' dir='' url='' flags='' operand=0 last=$((${#words[@]} - 1))",
    '  COMPREPLY=()',
    '  at=1',
    '  while [ $at -lt $last ]; do',
    '    case ${words[at]} in',
    '      -d|--dir) dir=${words[at + 1]} ;;',
    '      -u|--url) url=${words[at + 1]} ;;',
    '    esac',
    '    if _hermes_takes_value "$command:${words[at]}"; then',
    '      at=$((at + 1))',
    '    elif [[ ${words[at]} != -* ]]; then',
    '      if [ -z "$command" ]; then command=${words[at]}',
    '      elif [ $operand = 0 ] && _hermes_within "$command/${words[at]}"; then command+=/${words[at]}',
    '      else operand=$((operand + 1)); fi',
    '    fi',
    '    at=$((at + 1))',
    '  done',
    '  case $command:$previous in',
    ...valued.map(([pattern, kind]) => `    ${pattern}) COMPREPLY=($(${bashReply(kind)})); return ;;`),
    '  esac',
    '  case $command in',
    `    '') flags='${flags(globals).join(' ')}' ;;`,
    ...perCommand,
    '  esac',
    '  if [[ $word == -* ]]; then',
    '    COMPREPLY=($(compgen -W "$flags" -- "$word"))',
    '    return',
    '  fi',
    '  case $command:$operand in',
    `    :*) COMPREPLY=($(compgen -W '${outermost(commands)
      .map(({ name }) => name)
      .join(' ')}' -- "$word")) ;;`,
    ...operands,
    '  esac',
    '}',
    'complete -F _hermes hermes',
  ]
}

/** For use between single quotes, where zsh gives brackets and colons a meaning. */
function zshText(text: string): string {
  return text.replace(/'/g, "'\\''").replace(/[[\]:]/g, '\\$&')
}

function zshOffer(kind: Kind): string {
  if (kind === 'topic') return 'topic:_hermes_topics'
  if (kind === 'file') return 'file:_files'
  if (kind === 'folder') return 'folder:_files -/'
  return kind === 'none' ? 'value: ' : `value:(${kind.join(' ')})`
}

function zshOption(option: Option): string {
  const names = flags([option])
  const kind = valueKind(option)
  const value = kind === undefined ? '' : `:${zshOffer(kind)}`
  const text = zshText(option.description)
  if (names.length === 1) return `'${names[0]}[${text}]${value}'`
  return `'(${names.join(' ')})'{${names.join(',')}}'[${text}]${value}'`
}

function zsh(commands: readonly Described[], globals: readonly Option[]): string[] {
  const cases = commands.flatMap(({ name, options, operands }) => {
    const places = operands.map(
      ({ kind, variadic }, index) => `'${variadic || kind === 'none' ? '*' : index + 1}:${zshOffer(kind)}'`,
    )
    const parts = [...options.map(zshOption), '$globals', ...places].map((part) => `        ${part} \\`)
    return [`      ${name})`, '        _arguments \\', ...parts, '        && return 0', '        ;;']
  })
  return [
    '#compdef hermes',
    '_hermes_topics() {',
    '  local -a found place',
    '  local dir=${opt_args[--dir]:-${opt_args[-d]:-$hermes_dir}} url=${opt_args[--url]:-${opt_args[-u]:-$hermes_url}}',
    '  # (In opt_args, colons have a backslash before them.)',
    '  if [[ -n $dir ]]; then place=(--dir ${~${(Q)dir}}); fi',
    '  if [[ -n $url ]]; then place=(--url ${(Q)url}); fi',
    '  found=(${(f)"$(hermes topics --timeout 1s $place 2>/dev/null)"})',
    "  _describe 'topic' found",
    '}',
    '_hermes() {',
    '  local curcontext=$curcontext state line',
    '  typeset -A opt_args',
    '  local -a globals commands',
    '  local hermes_dir hermes_url',
    '  globals=(',
    ...globals.map((option) => `    ${zshOption(option)}`),
    '  )',
    '  commands=(',
    ...outermost(commands).map(({ name, summary }) => `    '${name}:${zshText(summary)}'`),
    '  )',
    "  _arguments -C $globals '1:command:->command' '*::argument:->argument' && return 0",
    '  # What stands before the command.',
    '  hermes_dir=${opt_args[--dir]:-$opt_args[-d]} hermes_url=${opt_args[--url]:-$opt_args[-u]}',
    '  case $state in',
    "    command) _describe 'command' commands ;;",
    '    argument)',
    '      local command=$words[1]',
    '      case $words[1]/$words[2] in',
    `        ${within(commands)
      .map(({ name }) => name)
      .join('|')})`,
    '          if ((CURRENT > 2)); then',
    '            command=$words[1]/$words[2]',
    '            shift words',
    '            ((CURRENT--))',
    '          fi',
    '          ;;',
    '      esac',
    '      case $command in',
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

function fishOffer(kind: Kind): string {
  if (kind === 'topic') return " -a '(__hermes_topics)'"
  if (kind === 'file') return ' -F'
  if (kind === 'folder') return " -a '(__fish_complete_directories)'"
  return kind === 'none' ? '' : ` -a ${fishText(kind.join(' '))}`
}

function fishOption(option: Option, condition: string): string {
  const short = option.short === undefined ? '' : ` -s ${option.short.slice(1)}`
  const long = option.long === undefined ? '' : ` -l ${option.long.slice(2)}`
  const kind = valueKind(option)
  const value = kind === undefined ? '' : kind === 'file' ? ' -r -F' : kind === 'none' ? ' -x' : ` -x${fishOffer(kind)}`
  return `complete -c hermes${condition}${short}${long}${value} -d ${fishText(option.description)}`
}

function fish(commands: readonly Described[], globals: readonly Option[]): string[] {
  const all = outermost(commands)
    .map(({ name }) => name)
    .join(' ')
  return [
    '# fish completion for hermes',
    'function __hermes_topics',
    '  set -l words (commandline -opc)',
    '  set -l place',
    '  set -l before',
    '  for word in $words',
    '    switch $before',
    '      case -d --dir',
    '        set place --dir (string replace -r "^~" $HOME -- $word)',
    '      case -u --url',
    '        set place --url $word',
    '    end',
    "    if string match -q -r '^--(dir|url)=' -- $word",
    '      set place $word',
    '    end',
    '    set before $word',
    '  end',
    '  hermes topics --timeout 1s $place 2>/dev/null',
    'end',
    'complete -c hermes -f',
    ...globals.map((option) => fishOption(option, '')),
    ...outermost(commands).map(
      ({ name, summary }) =>
        `complete -c hermes -n 'not __fish_seen_subcommand_from ${all}' -a ${name} -d ${fishText(summary)}`,
    ),
    ...commands.flatMap(({ name, inner, options, operands }) => {
      const seen = name.split('/').map((one) => `__fish_seen_subcommand_from ${one}`)
      if (inner.length > 0) seen.push(`not __fish_seen_subcommand_from ${inner.join(' ')}`)
      const condition = ` -n '${seen.join('; and ')}'`
      const offers = operands.flatMap(({ kind }) =>
        kind === 'none' ? [] : [`complete -c hermes${condition}${fishOffer(kind)}`],
      )
      return [...options.map((option) => fishOption(option, condition)), ...offers]
    }),
  ]
}
