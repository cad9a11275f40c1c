import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { open, text } from '../../lib/index.js'
import { makeFolder, removeFolder, root } from '../helpers/folder.js'
import { natsMissing } from '../helpers/nats-server.js'

const folder = join(makeFolder(), 'cluster')
afterAll(() => {
  run('stop', '--remove')
  removeFolder(join(folder, '..'))
})

function run(...args: readonly string[]) {
  const command = [join(root, 'scripts/cluster.mjs'), ...args, '--folder', folder]
  return spawnSync(process.execPath, command, { encoding: 'utf8', timeout: 240_000 })
}

/** Empty for a process that has ended, also if it was not waited for yet. */
function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}

/** Three ports that follow each other, and three more ten further on, all free a moment ago. */
async function freeRange(): Promise<number> {
  for (let port = 20_000 + Math.floor(Math.random() * 10_000); ; port += 20) {
    const isFree = (one: number) =>
      new Promise<boolean>((resolve) => {
        const server = createServer()
          .once('error', () => resolve(false))
          .listen(one, '127.0.0.1', () => server.close(() => resolve(true)))
      })
    const all = await Promise.all([0, 1, 2, 10, 11, 12].map((n) => isFree(port + n)))
    if (all.every(Boolean)) return port
  }
}

test.skipIf(natsMissing !== undefined)(
  'npm run cluster starts three servers, tells how they are, and stops them',
  async () => {
    expect(run('status')).toMatchObject({ status: 1 })
    const started = run('start', '--json', '--port', String(await freeRange()))
    expect(started.stderr).toBe('')
    const { url } = JSON.parse(started.stdout.trim().split('\n').at(-1) as string)
    expect(run('start').stderr).toContain('already')
    {
      await using hermes = await open(url)
      await (await hermes.topic('greetings', { codec: text }).publisher()).publishAsync('hello')
      const status = JSON.parse(run('status', '--json').stdout)
      expect(status).toMatchObject({ answers: true, topics: [{ topic: 'greetings', replicas: 3, messages: 1 }] })
      expect(status.servers.filter(({ pid }: { pid: number }) => pid > 0).length).toBe(3)
    }
    const stopped = run('stop', '--json', '--remove')
    expect(JSON.parse(stopped.stdout).stopped.length).toBe(3)
    for (const pid of JSON.parse(stopped.stdout).stopped) expect(commandOf(pid)).not.toContain(folder)
    expect(existsSync(folder)).toBe(false)
    expect(run('nonsense').status).toBe(1)
  },
  300_000,
)
