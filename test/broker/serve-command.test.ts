import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { open, text } from '../../lib/index.js'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
let dir: string
let child: ChildProcess | undefined

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-serve-'))
})

afterEach(async () => {
  child?.kill('SIGKILL')
  child = undefined
  await rm(dir, { recursive: true, force: true })
})

interface Started {
  readonly child: ChildProcess
  readonly stdout: Promise<string>
  readonly errors: string[]
}

function start(args: readonly string[], env: Record<string, string> = {}): Started {
  const started = spawn(process.execPath, [main, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child = started
  const errors: string[] = []
  started.stderr.on('data', (data) => errors.push(String(data)))
  const stdout = once(started.stdout, 'data').then(([data]) => String(data))
  stdout.catch(() => {})
  return { child: started, stdout, errors }
}

async function ended({ child }: Started): Promise<number | null> {
  if (child.exitCode === null) await once(child, 'exit')
  return child.exitCode
}

describe('hermes serve', () => {
  it('serves by configuration, environment and options, says which, and leaves in order', async () => {
    const config = join(dir, 'config.json')
    const access = [{ name: 'reader', token: 'reader-reader-reader', subscribe: ['*'] }]
    await writeFile(config, JSON.stringify({ port: 1, limits: { maxConnections: 7 }, access }))
    const env = { HERMES_TOKEN: 'from-the-environment', HERMES_PORT: '2' }
    const started = start(['serve', '--json', '--dir', join(dir, 'data'), '--config', config, '--port', '0'], env)
    const said = await started.stdout
    const shown = JSON.parse(said) as Record<string, unknown>
    expect(shown).toMatchObject({ host: '127.0.0.1', limits: { maxConnections: 7 }, tls: false })
    expect(said).not.toContain('reader-reader-reader')
    expect(said).not.toContain('from-the-environment')
    const hermes = await open(String(shown['url']), { token: 'from-the-environment' })
    const publisher = await hermes.topic('t', { codec: text, segmentBytes: 1024 * 1024 }).publisher()
    expect((await publisher.publishAsync('x')).sequence).toBe(1)
    started.child.kill('SIGTERM')
    // 128 + 15, as docs and --help say of every command.
    expect(await ended(started)).toBe(143)
    expect(started.errors.join('')).toContain('draining')
    await hermes.close()
  })

  it('reads its configuration again on SIGHUP, for the admin server as well, and keeps the old one if there is a mistake', async () => {
    const config = join(dir, 'config.json')
    const write = (token: string, more: object = {}) =>
      writeFile(config, JSON.stringify({ access: [{ name: 'one', token }], ...more }))
    await write('first-first-first')
    const options = ['--dir', join(dir, 'data'), '--port', '0', '--admin', '127.0.0.1:0', '--config', config]
    const started = start(['serve', '--json', ...options])
    const { url, admin } = JSON.parse(await started.stdout) as { url: string; admin: string }
    const said = (what: string) => vi.waitFor(() => expect(started.errors.join('')).toContain(what), 20_000)
    const statusWith = async (token: string) =>
      (await fetch(`${admin}/metrics`, { headers: { authorization: `Bearer ${token}` } })).status
    expect(await statusWith('first-first-first')).toBe(200)
    await write('second-second-second', { idle: 'spin' })
    started.child.kill('SIGHUP')
    await said('"reload-needs-restart","settings":["idle"]')
    await vi.waitFor(async () => expect(await statusWith('second-second-second')).toBe(200), 20_000)
    expect(await statusWith('first-first-first')).toBe(401)
    await expect(open(url, { token: 'first-first-first' })).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    await writeFile(config, '{')
    started.child.kill('SIGHUP')
    await said('reload-failed')
    await using hermes = await open(url, { token: 'second-second-second' })
    await hermes.health()
    started.child.kill('SIGTERM')
    expect(await ended(started)).toBe(143)
  })

  it('opens a door for WebSockets, whose tokens change on SIGHUP and whose address does not', async () => {
    const config = join(dir, 'config.json')
    const write = (token: string, webSocket: object) =>
      writeFile(config, JSON.stringify({ access: [{ name: 'one', token, administer: true }], webSocket }))
    await write('first-first-first', { origins: ['https://shop.example'] })
    const options = ['--dir', join(dir, 'data'), '--port', '0', '--ws', '127.0.0.1:0', '--config', config]
    const started = start(['serve', '--json', ...options])
    const { webSocketUrl: url, webSocket } = JSON.parse(await started.stdout) as Record<string, string>
    expect(webSocket).toEqual({ host: '127.0.0.1', port: 0, origins: ['https://shop.example'] })
    const first = await open(String(url), { token: 'first-first-first', reconnect: false })
    await first.health()
    await write('second-second-second', { origins: ['https://another.example'] })
    started.child.kill('SIGHUP')
    const said = (what: string) => vi.waitFor(() => expect(started.errors.join('')).toContain(what), 20_000)
    await said('"reload-needs-restart","settings":["webSocket"]')
    await vi.waitFor(async () => {
      const second = await open(String(url), { token: 'second-second-second' })
      await second.close()
    }, 20_000)
    // Its token is known no more.
    await expect(first.topics()).rejects.toMatchObject({
      code: expect.stringMatching(/UNAUTHORIZED|CLOSED|CONNECTION/),
    })
    await first.close()
    const lonely = start(['serve', '--dir', join(dir, 'other'), '--port', '0', '--ws-origin', 'https://shop.example'])
    expect(await ended(lonely)).not.toBe(0)
    expect(lonely.errors.join('')).toContain('--ws')
    started.child.kill('SIGTERM')
    expect(await ended(started)).toBe(143)
  })

  it('tells from where the connections came that it only counts', async () => {
    const started = start(['serve', '--dir', join(dir, 'data'), '--port', '0'], {
      HERMES_TOKEN: 'from-the-environment',
    })
    const url = /(tcp:\S+)/.exec(await started.stdout)?.[1] as string
    for (let attempt = 0; attempt < 3; attempt++) await open(url, { token: 'a-token-that-is-wrong' }).catch(() => {})
    await vi.waitFor(() => expect(started.errors.join('')).toContain('repeated='), 20_000)
    expect(started.errors.join('')).toMatch(/refused repeated=2 addresses=\{"127\.0\.0\.1":2\}/)
  })

  it('refuses a public address without a guard, and a configuration that it does not know', async () => {
    const open = start(['serve', '--dir', join(dir, 'data'), '--host', '0.0.0.0', '--port', '0'])
    expect(await ended(open)).toBe(4)
    expect(open.errors.join('')).toContain('UNAUTHORIZED')
    const config = join(dir, 'config.json')
    await writeFile(config, '{"prot": 1}')
    const misspelt = start(['serve', '--dir', join(dir, 'data'), '--config', config])
    expect(await ended(misspelt)).toBe(2)
    expect(misspelt.errors.join('')).toContain("Did you mean 'port'?")
  })

  it('stops by itself after --duration', async () => {
    const started = start(['serve', '--dir', join(dir, 'data'), '--port', '0', '--duration', '200ms', '--quiet'])
    expect(await started.stdout).toContain('tcp://127.0.0.1:')
    expect(await ended(started)).toBe(0)
  })
})
