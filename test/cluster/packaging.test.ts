import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import { root } from '../helpers/folder.js'

const { natsServer } = (await import(pathToFileURL(join(root, 'scripts/lib/nats-server.mjs')).href)) as {
  natsServer(): string | undefined
}
const program = natsServer()
const folder = join(root, 'packaging/cluster')

test.skipIf(program === undefined)('the configuration of packaging/cluster is one that nats-server takes', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'hermes-nats-'))
  try {
    const check = (text: string) => {
      const file = join(scratch, 'nats.conf')
      writeFileSync(file, text)
      return spawnSync(program as string, ['-t', '-c', file], {
        env: { ...process.env, NATS_NAME: 'nats-1' },
        encoding: 'utf8',
      })
    }
    const text = readFileSync(join(folder, 'nats.conf'), 'utf8')
    expect(text).toContain('sync_interval: always')
    expect(check(text).status).toBe(0)
    expect(check(`${text}\nno_such_option: 1\n`).status).not.toBe(0)
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
})

test('the compose file has three servers with a name, a port and a disk of their own', () => {
  const hasYaml = spawnSync('python3', ['-c', 'import yaml'], { stdio: 'ignore' }).status === 0
  if (!hasYaml) return
  const program = 'import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)'
  const compose = JSON.parse(
    execFileSync('python3', ['-c', program, join(folder, 'compose.yaml')], { encoding: 'utf8' }),
  )
  const servers = Object.entries(compose.services as Record<string, Record<string, unknown>>)
  expect(servers.map(([name]) => name)).toEqual(['nats-1', 'nats-2', 'nats-3'])
  for (const [name, service] of servers) {
    expect(service).toMatchObject({
      hostname: name,
      environment: { NATS_NAME: name },
      command: ['--config', '/etc/nats/nats.conf'],
    })
    expect((service['volumes'] as string[])[1]).toBe(`${name}:/data`)
  }
  expect(new Set(servers.map(([, { ports }]) => String(ports))).size).toBe(3)
})
