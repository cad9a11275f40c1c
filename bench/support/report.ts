import type { Figure } from './figures.js'
import { type Machine, machineRows, quietLoad } from './machine.js'
import type { Outcome, Table, Target } from './workload.js'

export interface Result extends Outcome {
  readonly name: string
  readonly title: string
  readonly about: string
}

/** All that a run found. What `--json` prints. */
export interface Report {
  readonly machine: Machine
  readonly command: string
  readonly trials: number
  readonly seconds: number
  readonly results: readonly Result[]
  /** Workloads that broke, and why. Their figures are not shown. */
  readonly failures: readonly { readonly name: string; readonly reason: string }[]
}

export function loadWarning({ load }: Machine): string | undefined {
  if (load <= quietLoad) return undefined
  return `The load average before the run was ${load.toFixed(2)}, above ${quietLoad}: other programs were using the processors, and the figures are worse than on a quiet machine.`
}

/** For people, on a terminal. */
export function resultText({ title, about, tables, targets, notes }: Result): string {
  const blocks = [`## ${title}`, wrap(about)]
  for (const table of tables) blocks.push(`${table.title}\n${textTable(table)}`)
  if (targets.length > 0) blocks.push(textTable(targetTable(targets)))
  for (const note of notes) blocks.push(wrap(`Note: ${note}`))
  return blocks.join('\n\n')
}

export function machineText(machine: Machine): string {
  const rows = machineRows(machine)
  const width = Math.max(...rows.map(([name]) => name.length))
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${value}`).join('\n')
}

function targetTable(targets: readonly Target[]): Table {
  return {
    title: 'Targets',
    columns: ['target', 'wanted', 'measured', ''],
    rows: targets.map(({ what, target, measured, met }) => [what, target, measured, met ? 'met' : 'missed']),
  }
}

function textTable({ columns, rows }: Table): string {
  const all = [columns, ...rows]
  const widths = columns.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)))
  const lines = all.map((row) =>
    row
      .map((cell, column) =>
        isNumeric(rows, column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  )
  lines.splice(1, 0, widths.map((width) => '-'.repeat(width)).join('  '))
  return lines.join('\n')
}

function isNumeric(rows: readonly (readonly string[])[], column: number): boolean {
  return column > 0 && rows.every((row) => /^$|^[\d.]/.test(row[column] ?? ''))
}

function wrap(text: string, width = 110): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + word.length >= width) {
      lines.push(line)
      line = ''
    }
    line += line === '' ? word : ` ${word}`
  }
  return [...lines, line].join('\n')
}

/** docs/benchmarks.md, as a whole. */
export function markdown(report: Report, figures: readonly Figure[]): string {
  const { machine, results, failures, command, trials, seconds } = report
  const warning = loadWarning(machine)
  const blocks = [
    '# Benchmarks',
    `Written by \`${command}\`; do not edit by hand. Every figure below is from that one run of ${Math.round(seconds)} seconds. A figure with a range is the median of ${trials} ${trials === 1 ? 'trial' : 'trials'} ` +
      'unless its table says otherwise, each trial in its own processes, with the smallest and the largest beside it. Percentiles are computed over all trials together. Every workload checks the number, the order and the content of its messages ' +
      'and shows no figures if one is wrong. Messages have 64 bytes: a number, a time, an eight-character symbol, a size and four prices.',
    '## The machine',
    markdownTable({ title: '', columns: ['', ''], rows: machineRows(machine) }),
  ]
  if (warning !== undefined) blocks.push(`**${warning}**`)
  const targets = results.flatMap((result) => result.targets)
  if (targets.length > 0) blocks.push('## Targets', markdownTable(targetTable(targets)))
  for (const { name, title, about, tables, notes } of results) {
    blocks.push(`## ${title}`, about, `Alone: \`npm run bench -- ${name}\``)
    for (const table of tables) blocks.push(`**${table.title}**`, markdownTable(table))
    for (const figure of figures) {
      if (figure.workload === name) blocks.push(`![${figure.title}](figures/${figure.file})`)
    }
    if (notes.length > 0) blocks.push(notes.map((note) => `- ${note}`).join('\n'))
  }
  for (const { name, reason } of failures) {
    blocks.push(`## ${name}`, `**This workload failed, so it has no figures:** ${reason.split('\n')[0]}`)
  }
  blocks.push(
    '## Run them',
    [
      '<!-- example not run: it takes minutes -->',
      '```sh',
      'npm run bench                          # all workloads',
      'npm run bench -- publish round-trip    # some',
      'npm run bench -- --peers               # installs peers’ npm packages into bench/peers first, and measures them too',
      'npm run bench -- --json                # for machines',
      'npm run bench -- --trials 7            # more trials',
      'npm run bench -- --figures             # draws docs/figures/*.svg',
      'npm run bench -- --report              # everything, and writes this page',
      '```',
    ].join('\n'),
    'Each workload is one file in [bench/](../bench). The native core has benchmarks of its own: `npm run bench:native`.',
  )
  return `${blocks.join('\n\n')}\n`
}

function markdownTable({ columns, rows }: Table): string {
  const cell = (text: string) => text.replaceAll('|', '\\|')
  const marks = columns.map((_, column) => (isNumeric(rows, column) ? '---:' : '---'))
  return [columns, marks, ...rows].map((row) => `| ${row.map(cell).join(' | ')} |`).join('\n')
}
