import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

/*
 * The image, the compose file and the unit, as far as they can be judged without Docker and systemd: what they run is
 * taken out of them and run by a plain shell, in folders of its own.
 */

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const operations = read('docs/operations.md')
/** Threads of Hermes in one process, and of Node, as docs/operations.md says. */
const [, ofHermes = '', ofNode = ''] = /At most (\d+) threads besides Node's own \((\d+) on most/.exec(operations) ?? []
const threads = Number(ofHermes) + Number(ofNode)
const port = await freePort()

interface Instruction {
  readonly name: string
  readonly text: string
}

/** The instructions of each stage. Lines that end with a backslash go on; comments go away, also within. */
function stagesOf(dockerfile: string): readonly (readonly Instruction[])[] {
  const text = dockerfile.replace(/^\s*#.*\n/gm, '').replace(/\\\n\s*/g, ' ')
  const stages: Instruction[][] = [[]]
  for (const line of text.split('\n').filter((one) => one.trim() !== '')) {
    const [, name = '', rest = ''] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? []
    if (name === 'FROM') stages.push([])
    stages.at(-1)?.push({ name, text: rest.trim() })
  }
  return stages.slice(1)
}

const [buildStage = [], finalStage = []] = stagesOf(read('Dockerfile'))
const all = (stage: readonly Instruction[], name: string) =>
  stage.filter((one) => one.name === name).map(({ text }) => text)
const ignored = read('.dockerignore')
  .split('\n')
  .filter((line) => line !== '' && !line.startsWith('#'))

function isIgnored(name: string): boolean {
  return ignored.some((pattern) => (pattern.startsWith('*') ? name.endsWith(pattern.slice(1)) : name === pattern))
}

let base: string
/** Folders that stand for those of the image. */
const inPlace = (text: string) => text.replace(/(?<![\w.])\/(opt\/hermes|packed|data|src)\b/g, `${base}/$1`)

beforeAll(() => {
  base = mkdtempSync(join(tmpdir(), 'hermes-image-'))
})
afterAll(() => rmSync(base, { recursive: true, force: true }))

describe('Dockerfile', () => {
  test('has two stages, and what it copies is there', () => {
    expect(stagesOf(read('Dockerfile'))).toHaveLength(2)
    for (const text of all(buildStage, 'COPY')) {
      for (const source of text.split(/\s+/).slice(0, -1)) {
        expect([source, existsSync(join(root, source)) && !isIgnored(source)]).toEqual([source, true])
      }
    }
    const made = all(buildStage, 'RUN').join('\n')
    for (const text of all(finalStage, 'COPY')) {
      const [from, ...rest] = text.split(/\s+/)
      expect(from).toBe('--from=build')
      expect(made).toContain(rest.filter((one) => !one.startsWith('--'))[0])
    }
  })

  test('the build needs nothing that .dockerignore leaves out', () => {
    const lib = ['lib', 'native', 'scripts', 'prebuilds', 'package.json', 'package-lock.json', 'tsconfig.build.json']
    for (const name of [...lib, 'binding.gyp', 'README.md', 'LICENSE'])
      expect([name, isIgnored(name)]).toEqual([name, false])
    for (const name of ['.git', 'node_modules', 'build', 'dist']) expect([name, isIgnored(name)]).toEqual([name, true])
  })

  test('runs as a user without rights, says where its data and its port are, and is asked for its health', () => {
    expect(all(finalStage, 'USER')).toEqual(['1000:1000'])
    expect(all(finalStage, 'VOLUME')).toEqual(['/data'])
    expect(all(finalStage, 'EXPOSE')).toEqual(['9000'])
    expect(all(finalStage, 'HEALTHCHECK')[0]).toMatch(/ CMD hermes ping /)
    expect([all(finalStage, 'ENTRYPOINT'), all(finalStage, 'CMD')]).toEqual([['["hermes"]'], ['["serve"]']])
    expect(all(finalStage, 'RUN')).toEqual([])
  })
})

test('the image is of an LTS line of Node, by its full version, the same in both stages', () => {
  const file = read('Dockerfile')
  const [, version = ''] = /^ARG NODE_VERSION=(\S+)$/m.exec(file) ?? []
  expect(version).toMatch(/^\d+\.\d+\.\d+$/)
  // Even lines become LTS.
  expect(Number(version.split('.')[0]) % 2).toBe(0)
  expect(Number(version.split('.')[0])).toBeGreaterThanOrEqual(24)
  const bases = [...file.matchAll(/^FROM (\S+)/gm)].map(([, base]) => base)
  expect(bases.map((base) => base?.replace(/\$\{NODE_VERSION\}/, version))).toEqual([
    `node:${version}-bookworm`,
    `node:${version}-bookworm-slim`,
  ])
  for (const option of ['--init', '--read-only', '--tmpfs /tmp', '--memory ', '--pids-limit '])
    expect([option, file.includes(option), operations.includes(option)]).toEqual([option, true, true])
})

describe('what the image runs', () => {
  const environment: Record<string, string> = {}

  beforeAll(() => {
    for (const [, name = '', value = ''] of (all(finalStage, 'ENV')[0] ?? '').matchAll(/(\w+)=(\S+)/g)) {
      environment[name] = inPlace(value)
    }
    // As `docker run -e` would: 9000 may be taken here.
    environment['HERMES_PORT'] = String(port)
    environment['PATH'] = `${environment['PATH']}:${join(process.execPath, '..')}`
    mkdirSync(join(base, 'src'))
    for (const name of readdirSync(root)) {
      if (!isIgnored(name)) cpSync(join(root, name), join(base, 'src', name), { recursive: true })
    }
    // An addon that was built here spares the build another one where the prebuild is not of these sources.
    for (const name of ['hermes.node', 'hermes.sources']) {
      const file = join('build/Release', name)
      if (existsSync(join(root, file))) cpSync(join(root, file), join(base, 'src', file))
    }
    const commands = all(buildStage, 'RUN')
    expect(commands).toHaveLength(4)
    const env = { ...process.env, npm_config_prefer_offline: 'true', CI: 'true' }
    for (const command of commands) {
      const { status, stderr, stdout } = spawnSync('sh', ['-ec', inPlace(command)], {
        cwd: join(base, 'src'),
        env,
        encoding: 'utf8',
      })
      if (status !== 0) throw new Error(`${command} ended with ${status}\n${stdout}\n${stderr}`)
    }
  }, 280_000)

  const exec = (field: string) => JSON.parse(all(finalStage, field)[0] ?? '[]') as string[]
  const [program = '', ...args] = [...exec('ENTRYPOINT'), ...exec('CMD')]
  const health = () => {
    const command = / CMD (.*)$/.exec(all(finalStage, 'HEALTHCHECK')[0] ?? '')?.[1] ?? ''
    return spawnSync('sh', ['-c', command], { env: { ...environment, HERMES_TOKEN: token }, encoding: 'utf8' })
  }
  const token = 'a-token-for-this-test'

  test('holds the package and what it needs, no tools of its making', () => {
    const modules = readdirSync(join(base, 'opt/hermes/node_modules'))
    expect(modules).toEqual(expect.arrayContaining(['.bin', 'hermes-mq', 'commander']))
    expect(modules).not.toContain('typescript')
  })

  test('refuses to serve without a token', () => {
    const { status, stderr } = spawnSync(program, args, { env: environment, cwd: base, encoding: 'utf8' })
    expect([status, stderr]).toEqual([4, expect.stringContaining('UNAUTHORIZED')])
  })

  test('serves, is healthy, and leaves in order when it is stopped', async () => {
    expect(health().status).toBe(1)
    const server = spawn(program, args, { env: { ...environment, HERMES_TOKEN: token }, cwd: base })
    try {
      await once(server.stdout, 'data')
      const { status, stderr } = health()
      expect([status, stderr]).toEqual([0, ''])
      // The health check of the compose file, at our port.
      const compose = read('compose.yaml')
      const [command = '', ...rest] = (
        JSON.parse(/^ {6}test: (\[.*\])$/m.exec(compose)?.[1] ?? '[]') as string[]
      ).slice(1)
      const checked = rest.map((one) => one.replace(':9000', `:${port}`))
      const env = { ...environment, HERMES_TOKEN: token }
      expect(spawnSync(command, checked, { env }).status).toBe(0)
      expect(spawnSync(command, checked, { env: { ...env, HERMES_TOKEN: 'another' } }).status).toBe(4)
      expect(existsSync(join(base, 'data/hermes.json')) || readdirSync(join(base, 'data')).length > 0).toBe(true)
    } finally {
      await stop(server)
    }
    expect(server.exitCode).toBe(143)
  })
})

describe('compose.yaml', () => {
  const text = read('compose.yaml')

  test('is YAML with a service, its volume and its health check', (context) => {
    const script = 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin)))'
    const { status, stdout, stderr } = spawnSync('python3', ['-c', script], { input: text, encoding: 'utf8' })
    if (status !== 0 && /No module named|ENOENT/.test(stderr ?? 'ENOENT'))
      return context.skip('needs python3 with PyYAML')
    expect(stderr).toBe('')
    const { services, volumes } = JSON.parse(stdout)
    expect(Object.keys(services)).toEqual(['hermes'])
    const { hermes } = services
    expect(hermes.build).toBe('.')
    expect(hermes.volumes).toEqual([`${Object.keys(volumes)[0]}:${all(finalStage, 'VOLUME')[0]}`])
    expect(hermes.ports).toEqual([`127.0.0.1:9000:${all(finalStage, 'EXPOSE')[0]}`])
    expect(hermes.healthcheck.test[0]).toBe('CMD')
    expect(hermes.environment.HERMES_TOKEN).toMatch(/^\$\{HERMES_TOKEN:\?/)
    expect(hermes).toMatchObject({
      read_only: true,
      tmpfs: [expect.stringMatching(/^\/tmp:size=\d+m/)],
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      init: true,
      restart: 'unless-stopped',
      mem_limit: expect.stringMatching(/^\d+[mg]$/),
      ulimits: { nofile: 65_536 },
    })
    // The broker, a health check and `docker compose exec hermes hermes …` at a time.
    expect(hermes.pids_limit).toBeGreaterThanOrEqual(threads + 2 * Number(ofNode))
    expect(hermes.pids_limit).toBeLessThan(1000)
  })

  test('gives the broker more time to leave than it takes', () => {
    expect(Number(/stop_grace_period: (\d+)s/.exec(text)?.[1])).toBeGreaterThan(5)
  })
})

describe('hermes.service', () => {
  const unit = read('packaging/systemd/hermes.service')
  const settings = (name: string) => [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value]) => value)

  test('runs the command in its directory, and takes its exit after SIGTERM for success', async () => {
    expect([settings('DynamicUser'), settings('StateDirectory')]).toEqual([['yes'], ['hermes']])
    expect(settings('Environment')).toEqual(['HERMES_DIR=/var/lib/hermes'])
    // As systemd would: the words of HERMES_OPTIONS become arguments.
    const bin = join(base, 'unit-bin')
    mkdirSync(bin)
    const main = join(root, 'dist/cli/main.js')
    writeFileSync(join(bin, 'hermes'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
    const env = {
      PATH: `${bin}:${process.env['PATH']}`,
      HERMES_DIR: join(base, 'unit-data'),
      ...Object.fromEntries(
        [...read('packaging/systemd/hermes.env').matchAll(/^(\w+)=(.*)$/gm)].map((one) => one.slice(1)),
      ),
      HERMES_PORT: '0',
      HERMES_OPTIONS: '--idle park --json',
    }
    const server = spawn('sh', ['-c', `exec ${settings('ExecStart')[0]}`], { env })
    const [said] = await once(server.stdout, 'data')
    expect(JSON.parse(String(said))).toMatchObject({ host: '127.0.0.1', idle: 'park' })
    await stop(server)
    expect(settings('SuccessExitStatus')).toEqual([String(server.exitCode)])
  })

  test('has limits that fit the broker, is started again for ever, and not where that would not help', () => {
    const wanted = {
      LimitNOFILE: '65536',
      StartLimitIntervalSec: '0',
      Restart: 'on-failure',
      RestartSec: '1',
      // Wrong usage: docs/cli.md.
      RestartPreventExitStatus: '2',
      StateDirectoryMode: '0700',
      UMask: '0077',
      NoNewPrivileges: 'yes',
      ProtectSystem: 'strict',
    }
    for (const [name, value] of Object.entries(wanted)) expect([name, settings(name)]).toEqual([name, [value]])
    // StartLimitIntervalSec= belongs to [Unit]; systemd ignores it elsewhere.
    expect(unit.split('[Service]')[0]).toContain('StartLimitIntervalSec=0')
    expect(threads).toBeGreaterThan(20)
    expect(Number(settings('TasksMax')[0])).toBeGreaterThanOrEqual(threads + Number(ofNode))
    expect(operations).toContain(`\`TasksMax=\` or a container's pids limit of ${settings('TasksMax')[0]} is enough`)
    for (const text of ['StateDirectoryMode=2770', 'UMask=0007', 'DynamicUser=no']) expect(operations).toContain(text)
  })

  test('the threads of a process are at most as many as docs/operations.md says', () => {
    const [, preparing, syncing, sleeping] =
      /(\d+) that prepare room, (\d+) that sync, (\d+) that sleep/.exec(operations) ?? []
    expect(Number(preparing) + Number(syncing) + Number(sleeping)).toBe(Number(ofHermes))
  })

  test('is a valid unit, and confined', (context) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return context.skip('needs systemd-analyze')
    // verify wants the program to be there.
    const file = join(base, 'hermes.service')
    writeFileSync(file, unit.replace('/usr/bin/env hermes', '/usr/bin/env true'))
    const verified = spawnSync('systemd-analyze', ['verify', '--man=no', file], { encoding: 'utf8' })
    expect([verified.status, verified.stderr]).toEqual([0, ''])
    const offline = ['security', '--offline=true', '--threshold=20', '--no-pager', file]
    const { status, stdout, stderr } = spawnSync('systemd-analyze', offline, { encoding: 'utf8' })
    if (stderr.includes('unrecognized option')) return context.skip('needs systemd 250')
    expect([status, stdout.trim().split('\n').at(-1)]).toEqual([0, expect.stringContaining('exposure level')])
  })
})

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, '0.0.0.0')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}
