import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { expect, test } from 'vitest'
import { exitCodeOf } from '../../lib/cli/exit.js'
import { exitMeanings } from '../../lib/cli/exit-codes.js'
import { makeProgram } from '../../lib/cli/program.js'
import { Session } from '../../lib/cli/session.js'
import { errorCodes, HermesError } from '../../lib/index.js'

const page = readFileSync(join(import.meta.dirname, '../../docs/cli.md'), 'utf8')

function program(): Command {
  const session = new Session(process)
  session.dispose()
  return makeProgram(session)
}

test('docs/cli.md has the table of exit codes that the program uses', () => {
  const rows = [...page.matchAll(/^\| (\d+) \| (.*?) \| (.*?) ?\|$/gm)].map(([, code, meaning, errors]) => ({
    code: Number(code),
    meaning,
    errors: [...(errors as string).matchAll(/`(\w+)`/g)].map(([, name]) => name),
  }))
  expect(Object.fromEntries(rows.map(({ code, meaning }) => [code, meaning]))).toEqual(exitMeanings)
  for (const code of errorCodes) {
    const exit = exitCodeOf(new HermesError(code, ''))
    const row = rows.find(({ errors }) => errors.includes(code))
    expect([code, row?.code ?? 1]).toEqual([code, exit])
  }
})

/** All of them, also those within another one, with their names from the outermost on. */
function everyCommand(parent = program(), outer = 'hermes'): { readonly path: string; readonly command: Command }[] {
  return parent.commands.flatMap((command) => {
    const path = `${outer} ${command.name()}`
    return [{ path, command }, ...everyCommand(command, path)]
  })
}

test('docs/cli.md names every command, and every option that is not only for help', () => {
  const commands = everyCommand()
  for (const { path } of commands) expect(page).toContain(path)
  for (const { long } of program().options) if (long !== '--version') expect(page).toContain(String(long))
  const known = ['--delimiter', '--format', '--messages', '--rounds', '--only']
  for (const { long } of commands.flatMap(({ command }) => command.options)) {
    if (!known.includes(String(long))) expect(page).toContain(String(long))
  }
})

test('every command has a summary and a description, every option a description', () => {
  for (const { command } of everyCommand()) {
    expect(command.summary()).not.toBe('')
    expect(command.description().length).toBeGreaterThan(command.summary().length)
    for (const { description } of command.options) expect(description).not.toBe('')
  }
})

test('the default of an option that takes a time is shown as a time is written', () => {
  const times = everyCommand().flatMap(({ command }) => command.options.filter(({ flags }) => flags.endsWith('<time>')))
  expect(times.length).toBeGreaterThan(8)
  for (const { flags, defaultValue, defaultValueDescription } of times) {
    if (defaultValue !== undefined) expect(defaultValueDescription, flags).toMatch(/^\d+(ms|s)$/)
  }
})
