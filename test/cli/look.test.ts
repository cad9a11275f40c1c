import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { defaultDir } from '../../lib/cli/commands/common.js'
import { main, usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place

test('topics lists names, a table with --long, and objects with --json', async () => {
  await hermes(['pub', 'b', 'x', 'y'])
  await hermes(['pub', 'a', '--codec', 'json', '1'])
  expect((await hermes(['topics'])).stdout).toBe('a\nb\n')
  const { lines } = await hermes(['topics', '--long'])
  expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
    ['TOPIC', 'CODEC', 'MESSAGES', 'USED', 'SIZE', 'PUBLISHERS'],
    ['a', 'json', '1', '296 bytes', '100.0 MiB', '0'],
    ['b', 'text', '2', '336 bytes', '100.0 MiB', '0'],
  ])
  const objects = (await hermes(['topics', '--json'])).lines.map((line) => JSON.parse(line))
  expect(objects.map(({ name, nextSequence }) => [name, nextSequence])).toEqual([
    ['a', 2],
    ['b', 3],
  ])
})

test('info shows a topic to people and to programs', async () => {
  await hermes(['pub', 'b', 'x', 'y', '--retain-bytes', '1GiB'])
  const { stdout } = await hermes(['info', 'b'])
  expect(stdout).toMatch(/^codec +text$/m)
  expect(stdout).toMatch(/^messages +2$/m)
  expect(stdout).toMatch(/^retention +1\.0 GiB$/m)
  const json = JSON.parse((await hermes(['info', 'b', '--json'])).stdout)
  expect(json).toMatchObject({ name: 'b', firstSequence: 1, nextSequence: 3, retention: { bytes: 2 ** 30 } })
})

test('tail prints the last messages and ends', async () => {
  await hermes(['pub', 'n', '--codec', 'json', '--count', '30', '1', '2', '3'])
  expect((await hermes(['tail', 'n'])).lines).toHaveLength(10)
  const two = (await hermes(['tail', 'n', '--count', '2', '--meta'])).lines.map((line) => line.split('\t'))
  expect(two.map(([sequence, , value]) => [sequence, value])).toEqual([
    ['29', '2'],
    ['30', '3'],
  ])
  expect((await hermes(['tail', 'n', '-n', '0'])).stdout).toBe('')
  expect((await hermes(['tail', 'n', '-n', '1000'])).lines).toHaveLength(30)
})

test('tail and sub --end stop at what was the end when they began', async () => {
  await hermes(['pub', 'busy', 'x', '--count', '100'])
  const pub = start(['pub', 'busy', 'x', '--count', '1000000', '--rate', '20000'])
  await hermes(['sub', 'busy', '--count', '1'])
  for (let round = 0; round < 3; round++) {
    expect((await hermes(['tail', 'busy', '--count', '5'])).lines).toHaveLength(5)
  }
  pub.child.kill('SIGINT')
  expect((await pub.ended).code).toBe(130)
})

test('tail goes on with --follow', async () => {
  await hermes(['pub', 'n', 'old', 'newer'])
  const tail = start(['tail', 'n', '--count', '1', '--follow'])
  await tail.until('newer\n')
  await hermes(['pub', 'n', 'newest'])
  await tail.until('newest\n')
  tail.child.kill('SIGINT')
  expect(await tail.ended).toMatchObject({ code: 130, stdout: 'newer\nnewest\n' })
})

test('tail of a topic whose first messages are gone begins with what is there', async () => {
  const input = Array.from({ length: 20_000 }, (_, index) => `message ${index}\n`).join('')
  await hermes(['pub', 'short', '--segment-bytes', '64KiB', '--retain-bytes', '128KiB', '--batch', '256'], { input })
  const info = JSON.parse((await hermes(['info', 'short', '--json'])).stdout)
  expect(info.firstSequence).toBeGreaterThan(1)
  const { code, lines } = await hermes(['tail', 'short', '--count', '20000'])
  expect([code, lines.length, lines.at(-1)]).toEqual([0, 20_001 - info.firstSequence, 'message 19999'])
})

test('bench measures all workloads, names machine and durability, and leaves nothing behind', async () => {
  const args = ['bench', '--messages', '1000', '--rounds', '100', '--in', place.folder]
  const { code, stdout, stderr } = await hermes([...args, '--json'])
  expect([code, stderr]).toEqual([0, ''])
  const { machine, results, payloadBytes } = JSON.parse(stdout)
  expect(payloadBytes).toBe(64)
  expect(machine).toMatchObject({ node: process.versions.node, cores: expect.any(Number), cpu: expect.any(String) })
  expect(results.map(({ name, durability }: Record<string, string>) => `${name} ${durability}`)).toEqual([
    'publish written',
    'batch written',
    'end-to-end written',
    'round-trip written',
    'synced synced',
    'synced-group synced',
  ])
  for (const { perSecond, messages } of results) expect(perSecond > 0 && messages > 0).toBe(true)
  expect(results[3].latencyNs.p50).toBeGreaterThan(0)
  expect(readdirSync(place.folder)).toEqual([])
})

test('an interrupted bench leaves no files and no processes', async () => {
  const bench = start(['bench', '--in', place.folder, '--rounds', '50000000', '--only', 'round-trip'])
  await bench.until('messages of 64 bytes')
  while (!existsSync(join(place.folder, readdirSync(place.folder)[0] ?? '', 'round-trip/topics/pong'))) {
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  bench.child.kill('SIGINT')
  expect((await bench.ended).code).toBe(130)
  expect(readdirSync(place.folder)).toEqual([])
  const worker = spawnSync('pgrep', ['-f', place.folder], { encoding: 'utf8' })
  expect(worker.stdout ?? '').toBe('')
})

const hasScript = spawnSync('script', ['--version']).status === 0

test.skipIf(!hasScript)(
  'colours, progress and harmless control characters on a terminal only (needs script)',
  async () => {
    const rows = Array.from({ length: 60_000 }, (_, index) => `${index}\n`).join('')
    const file = place.file('rows.csv', `n\n${rows}`)
    const terminal = (command: string, env: NodeJS.ProcessEnv = {}) =>
      spawnSync('script', ['-qec', `${process.execPath} ${main} ${command}`, '/dev/null'], {
        cwd: place.folder,
        encoding: 'utf8',
        env: { ...process.env, NO_COLOR: '', TERM: 'xterm', ...env },
        input: '',
      }).stdout
    expect(terminal(`replay ${file} rows --rate 100000`)).toMatch(/\[#+-*\] +\d+ %/)
    expect((await hermes(['replay', file, 'rows', '--rate', '100000'])).stderr).not.toContain('\u001b')
    // Somebody who looks at a terminal is told why nothing comes; a pipe's reader is not.
    await hermes(['pub', 'calm', 'x'])
    expect(terminal('sub calm --duration 300ms')).toContain('Waiting for messages of calm')
    expect(terminal('sub calm --from earliest --end')).not.toContain('Waiting')
    expect((await hermes(['sub', 'calm', '--duration', '300ms'])).stderr).toBe('')
    expect(terminal('sub nothing')).toContain('\u001b[31m')
    expect(terminal('sub nothing', { NO_COLOR: '1' })).not.toContain('\u001b')
    expect((await hermes(['sub', 'nothing'])).stderr).not.toContain('\u001b')
    await hermes(['pub', 'evil', '\u001b[31mred'])
    expect(terminal('tail evil')).toContain('\\x1b[31mred')
    // A pipe gets what was published.
    expect((await hermes(['tail', 'evil'])).stdout).toBe('\u001b[31mred\n')
  },
)

/** What bash offers for a line, by the completion script itself. */
function completed(script: string, words: readonly string[]): string[] {
  const program = `
hermes() { "${process.execPath}" "${main}" "$@"; }
${script}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})
COMP_CWORD=${words.length - 1}
_hermes
printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = spawnSync('bash', ['-c', program], { cwd: place.folder, encoding: 'utf8' })
  expect(stderr).toBe('')
  return stdout.split('\n').filter((line) => line !== '')
}

test('bash completes commands, options, their values, topics and files', async () => {
  await hermes(['pub', 'quotes', 'x'])
  await hermes(['pub', 'elsewhere', 'x', '--dir', 'other'])
  place.file('quotes.csv', '')
  const { stdout } = await hermes(['completion', 'bash'])
  expect(completed(stdout, ['hermes', 'to'])).toEqual(['topics', 'top'])
  expect(completed(stdout, ['hermes', 'sub', 'q'])).toEqual(['quotes'])
  expect(completed(stdout, ['hermes', '--dir', 'other', 'sub', ''])).toEqual(['elsewhere'])
  expect(completed(stdout, ['hermes', 'sub', 'quotes', '--du'])).toEqual(['--duration'])
  expect(completed(stdout, ['hermes', 'pub', '--durability', ''])).toEqual(['written', 'synced', 'replicated'])
  expect(completed(stdout, ['hermes', 'replay', 'quotes.'])).toEqual(['quotes.csv'])
  expect(completed(stdout, ['hermes', 'replay', 'quotes.csv', ''])).toEqual(['quotes'])
  expect(completed(stdout, ['hermes', 'completion', ''])).toEqual(['bash', 'zsh', 'fish'])
  expect(completed(stdout, ['hermes', 'help', 'in'])).toEqual(['info'])
})

test('completion offers each command its own, files and folders where they belong', async () => {
  for (const name of ['hermes.json', 'server.key', 'quotes.csv']) place.file(name, '')
  mkdirSync(join(place.folder, 'house'))
  await hermes(['pub', 'quotes', 'x'])
  const { stdout } = await hermes(['completion', 'bash'])
  // -c is --config of one command, --codec of others.
  expect(completed(stdout, ['hermes', 'serve', '-c', 'her'])).toContain('hermes.json')
  expect(completed(stdout, ['hermes', 'pub', 'quotes', '-c', 'js'])).toEqual(['json'])
  for (const option of ['--tls-key', '--tls-cert', '--tls-ca', '--config'])
    expect(completed(stdout, ['hermes', 'serve', option, 'serv'])).toEqual(['server.key'])
  expect(completed(stdout, ['hermes', 'topics', '--dir', 'ho'])).toEqual(['house'])
  expect(completed(stdout, ['hermes', '--dir', 'quo'])).toEqual([])
  expect(completed(stdout, ['hermes', 'backup', 'ho'])).toEqual(['house'])
  expect(completed(stdout, ['hermes', 'verify', 'quotes', 'q'])).toEqual(['quotes'])
  expect(completed(stdout, ['hermes', 'serve', '--f'])).toEqual([])
  expect(completed(stdout, ['hermes', 'tail', '--f'])).toEqual(['--follow'])
  // As bash splits it.
  expect(completed(stdout, ['hermes', 'pub', '--durability', '=', 's'])).toEqual(['synced'])
  // --schema takes a file of pub, and nothing of info.
  expect(completed(stdout, ['hermes', 'info', '--schema', 'q'])).toEqual(['quotes'])
  expect(completed(stdout, ['hermes', 'pub', '--schema', 'q'])).toEqual(['quotes.csv'])
})

test('completion and help know the commands within another one', async () => {
  place.file('old.json', '')
  const { stdout } = await hermes(['completion', 'bash'])
  expect(completed(stdout, ['hermes', 'schema', ''])).toEqual(['check'])
  expect(completed(stdout, ['hermes', 'schema', 'check', 'o'])).toEqual(['old.json'])
  expect(completed(stdout, ['hermes', 'schema', 'check', '--js'])).toEqual(['--json'])
  expect(completed(stdout, ['hermes', 'sch'])).toEqual(['schema'])
  expect((await hermes(['help', 'schema', 'check'])).stdout).toContain('Usage: hermes schema check')
  const wrong = await hermes(['help', 'schema', 'chek'])
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("`hermes schema`. Did you mean 'check'?")])
  expect((await hermes(['schema', 'check', 'one.json'])).stderr).toContain('See `hermes schema check --help`.')
})

test('completion offers the topics of a broker, and gives up on one that does not answer', async () => {
  await hermes(['pub', 'far', 'x', '--dir', 'served'])
  const { url } = await place.serve(['--dir', 'served'])
  const { stdout } = await hermes(['completion', 'bash'])
  const [, port = ''] = /:(\d+)$/.exec(url) ?? []
  const pieces = ['tcp', ':', '//127.0.0.1', ':', port]
  expect(completed(stdout, ['hermes', 'sub', '--url', url, ''])).toEqual(['far'])
  expect(completed(stdout, ['hermes', '--url', ...pieces, 'sub', 'f'])).toEqual(['far'])
  const silent = createServer(() => {})
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port: deaf } = silent.address() as { readonly port: number }
  const begun = performance.now()
  expect((await hermes(['topics', '--url', `tcp://127.0.0.1:${deaf}`, '--timeout', '1s'])).code).toBe(12)
  expect(performance.now() - begun).toBeLessThan(15_000)
  silent.close()
})

test('a subcommand that does not exist is named, with those that there are', async () => {
  const bogus = await hermes(['groups', 'bogus'])
  expect(bogus.code).toBe(2)
  expect(bogus.stderr).toContain(
    "There is no command 'bogus' of `hermes groups`. There are: list, describe, reset, delete. [INVALID_ARGUMENT]",
  )
  const near = await hermes(['topics', 'craete', 'orders'])
  expect([near.code, near.stderr]).toEqual([2, expect.stringContaining("Did you mean 'create'?")])
  const over = await hermes(['groups', 'list', 'a', 'b'])
  expect([over.code, over.stderr]).toEqual([2, expect.stringContaining('Too many arguments')])
})

test('serve shows the rights of its tokens', async () => {
  const consume = ['orders/billing']
  writeFileSync(
    join(place.folder, 'rights.json'),
    JSON.stringify({ access: [{ name: 'b', token: 'a token of sixteen bytes', consume }] }),
  )
  const served = await hermes([
    'serve',
    '--dir',
    'rights',
    '--port',
    '0',
    '--config',
    'rights.json',
    '--duration',
    '100ms',
    '--json',
  ])
  expect([served.code, served.stderr.includes('sixteen')]).toEqual([0, false])
  expect(JSON.parse(served.lines[0] ?? '')).toMatchObject({ access: [{ name: 'b', consume, administer: false }] })
})

test('help of a command that does not exist names the mistake', async () => {
  const wrong = await hermes(['help', 'topcis'])
  expect([wrong.code, wrong.stdout]).toEqual([2, ''])
  expect(wrong.stderr).toContain("There is no command 'topcis'. Did you mean 'topics'?")
  expect((await hermes(['help', 'nosuch'])).stderr).toContain("There is no command 'nosuch'. There are: pub, sub,")
  expect((await hermes(['help', 'topics'])).stdout).toContain('Usage: hermes topics')
  const page = await hermes(['help'])
  expect([page.code, page.stdout]).toEqual([0, expect.stringContaining('Usage: hermes [options]')])
})

test('README and command line have the same directory', () => {
  const page = readFileSync(join(import.meta.dirname, '../../README.md'), 'utf8')
  const named = [...page.matchAll(/(?:open\('|--dir )(\.\/[\w-]+)/g)].map(([, dir]) => dir)
  expect([...new Set(named)]).toEqual([defaultDir])
})

test.each(['zsh', 'fish'])('%s takes its script, where it is installed', async (shell) => {
  const { code, stdout } = await hermes(['completion', shell])
  expect(code).toBe(0)
  for (const command of ['pub', 'sub', 'tail', 'topics', 'info', 'replay', 'bench', '--timeout 1s', '--url'])
    expect(stdout).toContain(command)
  if (spawnSync(shell, ['--version']).status !== 0) return
  const { status, stderr } = spawnSync(shell, ['-n', place.file(`hermes.${shell}`, stdout)], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
})

test('prints its version', async () => {
  expect((await hermes(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
})
