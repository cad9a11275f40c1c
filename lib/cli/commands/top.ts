import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { adminUrl, integer } from '../arguments.js'
import { isBroker } from '../place.js'
import type { Session } from '../session.js'
import { aligned, Screen, sorted } from '../top/screen.js'
import type { MetricsSource } from '../top/source.js'
import { viewNames, viewOf } from '../top/views.js'
import { globalsOf, timeOption, withHelp } from './common.js'

interface Options {
  readonly admin?: string
  readonly interval: number
  readonly count?: number
}

const enter = '\u001b[?1049h\u001b[?25l'
const leave = '\u001b[?25h\u001b[?1049l'

export function registerTop(program: Command, session: Session): void {
  const command = program
    .command('top')
    .summary('watch topics, publishers, subscribers and groups')
    .description(
      'Shows rates, lags and latencies of --dir, of a cluster, or of the directory of an admin server (--admin), again and again. ' +
        'Without a terminal it prints plain tables, or with --json one object for each look.',
    )
    .option(
      '--admin <url>',
      'ask `hermes admin` or `hermes serve --admin` at http://host:port, with HERMES_TOKEN',
      adminUrl,
    )
    .addOption(timeOption('--interval <time>', 'how often to look', 1000))
    .option('-n, --count <n>', 'leave after so many looks (without a terminal, default: 1)', integer(1))
    .action(async (options: Options) => {
      const { dir } = globalsOf(command)
      if (options.admin === undefined && isBroker(dir)) {
        throw new HermesError(
          'UNSUPPORTED',
          'A broker is asked at its admin address: start it with `hermes serve --admin 127.0.0.1:9464`, and give --admin http://… here.',
        )
      }
      const { adminSource, placeSource } = await import('../top/source.js')
      const token = session.streams.env['HERMES_TOKEN']
      await using source = options.admin === undefined ? await placeSource(dir) : adminSource(options.admin, token)
      const { stdin, stdout } = session.streams
      if (!session.json && stdout.isTTY && stdin.isTTY) await watch(session, source, options)
      else await print(session, source, options)
    })
  withHelp(
    command,
    `
hermes top
hermes top --admin http://127.0.0.1:9464
hermes top --count 10 --interval 5s > top.txt`,
  )
}

/** The full screen. What is shown is put back as it was, whatever ends it. */
async function watch(session: Session, source: MetricsSource, { interval, count }: Options): Promise<void> {
  const { stdin, stdout } = session.streams
  const screen = new Screen(source.name)
  const quit = new AbortController()
  const draw = () => {
    const lines = screen.lines(stdout.columns || 80, stdout.rows || 24)
    stdout.write(`\u001b[H${lines.map((line) => `${line}\u001b[K`).join('\r\n')}\u001b[J`)
  }
  const onKey = (data: Buffer) => {
    if (screen.key(data.toString('utf8'))) quit.abort()
    else draw()
  }
  const stop = AbortSignal.any([quit.signal, session.signal])
  stdout.write(enter)
  stdin.setRawMode(true)
  stdin.on('data', onKey)
  stdout.on('resize', draw)
  try {
    for (let looks = 0; !stop.aborted && looks !== count; looks++) {
      try {
        screen.show(await source.take(stop))
      } catch (error) {
        if (stop.aborted) break
        // It may come back: what is looked at can be restarted meanwhile.
        screen.fail((error as Error).message)
      }
      draw()
      await sleep(interval, undefined, { signal: stop }).catch(() => undefined)
    }
  } finally {
    stdout.off('resize', draw)
    stdin.off('data', onKey)
    stdin.setRawMode(false)
    stdin.pause()
    stdout.write(leave)
  }
}

async function print(session: Session, source: MetricsSource, { interval, count = 1 }: Options): Promise<void> {
  const { out, signal } = session
  // Rates need two looks.
  let before = session.json ? undefined : await source.take(signal)
  for (let looks = 0; looks < count && !session.stopping; looks++) {
    if (looks > 0 || before !== undefined) await sleep(interval, undefined, { signal }).catch(() => undefined)
    if (session.stopping) return
    const report = await source.take(signal)
    if (session.json) out.line(JSON.stringify(report))
    else {
      for (const name of viewNames) {
        const { columns, rows } = viewOf(name, report, before)
        if (rows.length === 0 && name !== 'topics') continue
        out.line(`${name}:`)
        for (const line of aligned(columns, sorted(rows, 0, false))) out.line(line)
        out.line('')
      }
    }
    await out.flush()
    before = report
  }
}
