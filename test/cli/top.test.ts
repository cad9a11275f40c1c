import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { Screen } from '../../lib/cli/top/screen.js'
import { ageText, countText, latencyText, rateText } from '../../lib/cli/top/views.js'
import { type MetricsReport, open, raw } from '../../lib/index.js'
import { main, usePlace } from './helpers.js'

const place = usePlace()

/** Two looks at a place with two topics and a group, between which `quotes` got 40 messages more. */
async function twoLooks(): Promise<[MetricsReport, MetricsReport]> {
  const hermes = await open(`${place.folder}/data`)
  const publishers = []
  for (const [name, count] of [
    ['orders', 10],
    ['quotes', 50],
  ] as const) {
    const topic = hermes.topic(name, { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 })
    const publisher = await topic.publisher()
    for (let i = 0; i < count; i++) publisher.publish(new Uint8Array(8))
    publishers.push(publisher)
  }
  await (await hermes.topic('quotes', { codec: raw }).group('risk', { from: 'earliest' })).close()
  const before = await hermes.metrics()
  for (let i = 0; i < 40; i++) publishers[1]?.publish(new Uint8Array(8))
  const now = await hermes.metrics()
  await hermes.close()
  return [before, { ...now, takenMs: before.takenMs + 2000 }]
}

describe('the screen of hermes top', { timeout: 120_000 }, () => {
  it('sorts, filters, shows one topic and goes back, within the size of the terminal', async () => {
    const [before, now] = await twoLooks()
    const screen = new Screen('data')
    screen.show(before)
    screen.show(now)
    const lines = () => screen.lines(120, 20)
    const names = () => lines().flatMap((line) => /^(?:> | {2})(orders|quotes)\b/.exec(line)?.[1] ?? [])
    expect(names()).toEqual(['orders', 'quotes'])
    expect(lines().find((line) => line.includes('quotes'))).toMatch(/quotes\s+20\s/)
    expect(screen.key('s')).toBe(false)
    expect(names()).toEqual(['quotes', 'orders'])
    screen.key('r')
    expect(names()).toEqual(['orders', 'quotes'])
    for (const key of ['/', 'q', 'u', '\r']) screen.key(key)
    expect(names()).toEqual(['quotes'])
    screen.key('\r')
    expect(lines().join('\n')).toMatch(/topic quotes\n[\s\S]*written 91 [\s\S]*groups:\n[\s\S]*risk/)
    screen.key('\u001b')
    screen.key('\u001b')
    expect(names().length).toBe(2)
    screen.key('4')
    expect(lines().join('\n')).toMatch(/\[4 groups\][\s\S]*quotes\s+risk\s+shared\s+90\s/)
    for (const [width, height] of [
      [40, 8],
      [10, 3],
      [1, 2],
    ] as const) {
      const small = screen.lines(width, height)
      expect(small.length).toBe(height)
      expect(Math.max(...small.map((line) => line.length))).toBeLessThanOrEqual(width)
    }
    screen.fail('it is gone')
    expect(lines()[0]).toContain('it is gone')
    expect([screen.key('q'), screen.key('\u0003')]).toEqual([true, true])
  })

  it('writes numbers short', () => {
    expect([0, 99_999, 100_000, 1_234_567, 2e9, 3e12].map(countText)).toEqual([
      '0',
      '99999',
      '100k',
      '1.2M',
      '2.0G',
      '3.0T',
    ])
    expect([0.5, 0, 12.4].map(rateText)).toEqual(['0.5', '0', '12'])
    expect([0, 0.00005, 0.0123, 4].map(latencyText)).toEqual(['-', '50 us', '12.3 ms', '4.0 s'])
    expect([Number.NaN, 1500, 90_000, 7_200_000, 864_000_000].map(ageText)).toEqual([
      '?',
      '1.5 s',
      '2 min',
      '2 h',
      '10 d',
    ])
  })
})

describe('hermes top', { timeout: 120_000 }, () => {
  it('prints plain tables without a terminal, or reports', async () => {
    await twoLooks()
    const plain = await place.hermes(['top', '--dir', 'data', '--interval', '50ms'])
    expect(plain.code).toBe(0)
    expect(plain.stdout).toMatch(/^topics:\nTOPIC .*\norders .*\nquotes .*90 [\s\S]*groups:\nTOPIC .*\nquotes\s+risk/m)
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
    expect(plain.stdout).not.toMatch(/\u001b/)
    const { lines } = await place.hermes(['top', '--dir', 'data', '--json', '--count', '2', '--interval', '10ms'])
    expect(lines.map((line) => (JSON.parse(line) as MetricsReport).topics.length)).toEqual([2, 2])
    expect((await place.hermes(['top', '--url', 'tcp://127.0.0.1:1'])).stderr).toContain('--admin')
    expect((await place.hermes(['top', '--admin', 'http://127.0.0.1:1'])).code).toBe(12)
  })

  it('takes a whole terminal, and gives it back as it was', async () => {
    await twoLooks()
    const program = `
import os, pty, sys, time, select
pid, fd = pty.fork()
if pid == 0:
    os.environ["TERM"] = "xterm"
    os.execvp(sys.argv[1], sys.argv[1:])
seen = b""
def until(what):
    global seen
    end = time.time() + 60
    while what not in seen:
        if time.time() > end: sys.exit("not seen: %r in %r" % (what, seen))
        if select.select([fd], [], [], 1)[0]:
            try: seen += os.read(fd, 65536)
            except OSError: break
until(b"[1 topics]"); until(b"quotes")
os.write(fd, b"4"); until(b"[4 groups]"); until(b"risk")
os.write(fd, b"q"); until(b"\\x1b[?1049l")
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`
    const { status, stderr } = spawnSync('python3', ['-c', program, process.execPath, main, 'top', '--dir', 'data'], {
      cwd: place.folder,
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([0, ''])
  })
})

describe('hermes metrics', { timeout: 120_000 }, () => {
  it('prints text for Prometheus, or the report', async () => {
    await twoLooks()
    const text = await place.hermes(['metrics', '--dir', 'data'])
    expect(text.stdout).toMatch(
      /^# HELP [\s\S]*hermes_topic_published_messages_total\{topic="quotes"\} 90\n[\s\S]*\n# EOF\n$/,
    )
    const { stdout } = await place.hermes(['metrics', '--dir', 'data', '--json'])
    expect((JSON.parse(stdout) as MetricsReport).groups).toMatchObject([{ topic: 'quotes', name: 'risk', lag: 90 }])
    expect((await place.hermes(['metrics', '--dir', 'none'])).code).toBe(3)
  })

  it('prints what promtool takes', async (context) => {
    if (spawnSync('promtool', ['--version']).status !== 0)
      return context.skip('promtool is not here (Debian: prometheus)')
    await twoLooks()
    const { stdout } = await place.hermes(['metrics', '--dir', 'data', '--format', 'prometheus'])
    const {
      status,
      stdout: said,
      stderr,
    } = spawnSync('promtool', ['check', 'metrics'], { input: stdout, encoding: 'utf8' })
    expect([status, said, stderr]).toEqual([0, '', ''])
  })
})
