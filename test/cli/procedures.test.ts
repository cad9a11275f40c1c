// biome-ignore-all lint/suspicious/noTemplateCurlyInString: systemd reads them
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { flipBit, overwrite, segmentFiles, topicFolder } from '../helpers/log-files.js'
import { main, usePlace } from './helpers.js'

/*
 * What docs/operations.md tells an operator to do by hand, where no other test does it. Each ends with a topic that can be published to and read.
 */

const root = join(import.meta.dirname, '../..')
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8')
const place = usePlace()
const { hermes } = place
const dir = () => join(place.folder, 'hermes-data')
const lines = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => String(from + n))

async function publish(from: number, to: number, args: readonly string[] = []): Promise<void> {
  const { code, stderr } = await hermes(['pub', 't', ...args], { input: `${lines(from, to).join('\n')}\n` })
  expect([code, stderr]).toEqual([0, expect.stringContaining('published')])
}

async function works(expected: readonly string[], args: readonly string[] = [], env = {}): Promise<void> {
  expect((await hermes(['pub', 't', 'once more', ...args], { env })).code).toBe(0)
  const read = await hermes(['sub', 't', '--from', 'earliest', '--end', ...args], { env })
  expect([read.code, read.lines]).toEqual([0, [...expected, 'once more']])
}

/** The page says so: else the test has nothing to hold. */
const says = (text: string) => expect(page).toContain(text)

test('a backup is put in the place of a lost directory; who was ahead of it is told where it ends', async () => {
  says('put the directory in place before any process opens it')
  says('a subscriber that was ahead of it gets `OUT_OF_RANGE`')
  await publish(1, 100)
  expect((await hermes(['backup', 'hermes-data', 'backup-1'])).code).toBe(0)
  await publish(101, 200)
  rmSync(dir(), { recursive: true })
  renameSync(join(place.folder, 'backup-1'), dir())
  const ahead = await hermes(['sub', 't', '--from', '201', '--end', '--json'])
  expect(ahead.code).toBe(10)
  expect(JSON.parse(ahead.stderr).error).toMatchObject({ code: 'OUT_OF_RANGE', details: { nextSequence: 101 } })
  await works(lines(1, 100))
})

test('a place that no process has open is copied exactly by cp -a', async () => {
  says('`cp -a` or `rsync` is exact only while no process has the place open')
  await publish(1, 5000, ['--segment-bytes', '64KiB', '--batch', '256'])
  expect(spawnSync('cp', ['-a', dir(), join(place.folder, 'copy')]).status).toBe(0)
  expect((await hermes(['verify', '--dir', 'copy'])).code).toBe(0)
  await works(lines(1, 5000), ['--dir', 'copy'])
})

test('quarantine/ is deleted once it was looked at', async () => {
  says('Look at them, then delete them if you like')
  await publish(1, 3)
  flipBit(segmentFiles(dir(), 't')[0] as string, 256 + 40 + 32)
  expect((await hermes(['repair', 't'])).code).toBe(0)
  const quarantine = join(topicFolder(dir(), 't'), 'quarantine')
  expect(readdirSync(quarantine).length).toBeGreaterThan(0)
  expect((await hermes(['doctor'])).stdout).toContain('quarantine')
  rmSync(quarantine, { recursive: true })
  const healthy = await hermes(['doctor'])
  expect([healthy.code, healthy.stdout]).toEqual([0, expect.not.stringContaining('quarantine')])
  await works(['1', '3'])
})

test("a topic's folder is removed while no process has it open: its name is free", async () => {
  says('Removing its folder while no process has it open does the same')
  await publish(1, 3)
  rmSync(topicFolder(dir(), 't'), { recursive: true })
  expect((await hermes(['topics'])).lines).toEqual([])
  expect((await hermes(['sub', 't', '--end'])).code).toBe(3)
  await works([])
})

test('a place in shared memory is removed with rm -r', async () => {
  says('Remove it with `rm -r`')
  const name = `test-procedure-${process.pid}`
  const args = ['--dir', `shm:${name}`, '--segment-bytes', '64KiB', '--max-payload', '1KiB']
  const path = `/dev/shm/hermes-${name}`
  try {
    expect((await hermes(['pub', 't', 'x', ...args])).code).toBe(0)
    expect(spawnSync('rm', ['-r', path]).status).toBe(0)
    expect((await hermes(['topics', '--dir', `shm:${name}`])).code).toBe(3)
    expect((await hermes(['pub', 't', 'y', ...args])).code).toBe(0)
    expect((await hermes(['sub', 't', '--from', 'earliest', '--end', '--dir', `shm:${name}`])).lines).toEqual(['y'])
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
})

test('a damaged file of metrics is moved away, and is made anew', async () => {
  says('move it away while no process has the place open; it is created anew')
  await publish(1, 3)
  const file = join(dir(), 'metrics')
  overwrite(file, 0, Buffer.alloc(4096))
  const damaged = await hermes(['metrics'])
  expect([damaged.code === 0, damaged.stderr]).toEqual([false, expect.stringContaining('is damaged')])
  renameSync(file, join(place.folder, 'metrics.old'))
  await works(lines(1, 3))
  const { code, stdout } = await hermes(['metrics'])
  expect([code, stdout]).toEqual([0, expect.stringContaining('hermes_topic_published_messages_total{topic="t"} 1\n')])
})

describe('a unit of the page', () => {
  const unit = readFileSync(join(root, 'packaging/systemd/hermes.service'), 'utf8')

  /** systemd's judgement of the unit with a drop-in. */
  function verify(dropIn: string): { status: number | null; stderr: string } {
    const folder = join(place.folder, 'units')
    mkdirSync(join(folder, 'hermes.service.d'), { recursive: true })
    // verify wants the program to be there.
    writeFileSync(join(folder, 'hermes.service'), unit.replace('/usr/bin/env hermes', '/usr/bin/env true'))
    writeFileSync(join(folder, 'hermes.service.d/override.conf'), dropIn.replaceAll('hermes serve', 'true'))
    return spawnSync('systemd-analyze', ['verify', '--man=no', join(folder, 'hermes.service')], { encoding: 'utf8' })
  }

  test('that shares topics with a group is valid with its drop-in, and its configuration makes files for the group', async ({
    skip,
  }) => {
    says('put `DynamicUser=no`, `User=`, `Group=`, `UMask=0007`, `StateDirectoryMode=2770` in a drop-in')
    says('`"mode": 432` (0o660) into the configuration')
    writeFileSync(join(place.folder, 'hermes.json'), '{ "mode": 432 }')
    const broker = await place.serve(['--config', 'hermes.json'])
    await works([], ['--url', broker.url])
    broker.child.kill('SIGTERM')
    expect((await broker.ended).code).toBe(143)
    for (const name of ['control', 'topic.json', 'locks'])
      expect([name, statSync(join(topicFolder(dir(), 't'), name)).mode & 0o777]).toEqual([name, 0o660])
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return skip('needs systemd-analyze')
    const dropIn = '[Service]\nDynamicUser=no\nUser=daemon\nGroup=daemon\nUMask=0007\nStateDirectoryMode=2770\n'
    expect(verify(dropIn)).toMatchObject({ status: 0, stderr: '' })
    // It does look: what it does not know is told.
    expect(verify(`${dropIn}StateDirectoryMod=2770\n`).stderr).toContain('StateDirectoryMod')
  })

  test('with the TLS key as a credential serves, and is asked for its health under its name, with a client certificate', async ({
    skip,
  }) => {
    if (!hasOpenssl()) return skip('needs openssl')
    says('`LoadCredential=key.pem:/etc/hermes/key.pem`')
    says('`--tls-key ${CREDENTIALS_DIRECTORY}/key.pem`')
    says(
      'with `HERMES_TLS_CA` for an authority of your own, and `HERMES_TLS_CERT` and `HERMES_TLS_KEY` if it wants client certificates',
    )
    const files = join(place.folder, 'credentials')
    mkdirSync(files)
    certificate(files, 'authority')
    certificate(files, 'localhost', 'authority')
    certificate(files, 'client', 'authority')
    cpSync(join(files, 'localhost.key'), join(files, 'key.pem'))
    const args = ['--tls-cert', join(files, 'localhost.pem'), '--tls-ca', join(files, 'authority.pem')]
    // As systemd would, it is the shell here that puts the folder in.
    const key = page.match(/--tls-key (\$\{CREDENTIALS_DIRECTORY\}\/key\.pem)/)?.[1] as string
    const broker = await place.serve([...args, '--tls-key', key.replace(/\$\{CREDENTIALS_DIRECTORY\}/, files)])
    const url = broker.url.replace('127.0.0.1', 'localhost')
    const authority = { HERMES_TLS_CA: join(files, 'authority.pem') }
    const env = { ...authority, HERMES_TLS_CERT: join(files, 'client.pem'), HERMES_TLS_KEY: join(files, 'client.key') }
    expect((await hermes(['ping', '--url', url], { env })).code).toBe(0)
    expect((await hermes(['ping', '--url', url], { env: authority })).code).not.toBe(0)
    await works([], ['--url', url], env)
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) return
    const dropIn = `[Service]\nLoadCredential=key.pem:/etc/hermes/key.pem\nExecStart=\nExecStart=/usr/bin/env hermes serve --tls-key ${key} --tls-cert /etc/hermes/cert.pem\n`
    expect(verify(dropIn)).toMatchObject({ status: 0, stderr: '' })
  })

  test('that needs the broker waits until it answers', async () => {
    const wait = /`ExecStartPre=(\/bin\/sh -c '[^`]*')`/.exec(page)?.[1] as string
    expect(wait).toContain('until hermes ping --url tcp://127.0.0.1:9000 -q')
    const bin = join(place.folder, 'bin')
    mkdirSync(bin)
    writeFileSync(join(bin, 'hermes'), `#!/bin/sh\nexec '${process.execPath}' '${main}' "$@"\n`, { mode: 0o755 })
    const env = { ...process.env, PATH: `${bin}:${process.env['PATH']}` }
    const run = (url: string, timeout: number) =>
      spawnSync('/bin/sh', ['-c', `exec ${wait}`.replace('tcp://127.0.0.1:9000', url)], {
        env,
        timeout,
        stdio: 'ignore',
      })
    expect(run('tcp://127.0.0.1:1', 1500).status).toBeNull()
    const broker = await place.serve()
    expect(run(broker.url, 60_000).status).toBe(0)
    await works([], ['--url', broker.url])
  })
})
