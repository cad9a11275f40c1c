import { spawnSync } from 'node:child_process'
import { createServer, type Socket } from 'node:net'
import { DiscardPolicy } from '@nats-io/jetstream'
import { expect, test } from 'vitest'
import { type Hermes, json, open, type Publisher, text } from '../../lib/index.js'
import { streamOf } from '../../lib/placement/nats/definition.js'
import { failure } from '../helpers/failure.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { type NatsCluster, natsMissing, startNats, streamsOf } from '../helpers/nats-server.js'
import { numbers } from '../helpers/receive.js'

/*
 * What a cluster has no room for, what it does not permit, and what it can't do.
 */

const it = natsMissing === undefined ? test : test.skip
const isRoot = process.getuid?.() === 0
const block = 'x'.repeat(4000)

async function withCluster(
  work: (cluster: NatsCluster) => Promise<void>,
  extra = '',
  options: { readonly folder?: string; readonly jetstream?: string } = {},
): Promise<void> {
  const cluster = await startNats(1, extra, options)
  try {
    await work(cluster)
  } finally {
    await cluster.close()
  }
}

async function valuesOf(hermes: Hermes, topic: string): Promise<string[]> {
  const subscriber = await hermes.topic(topic, { codec: text }).subscriber({ from: 'earliest', until: 'latest' })
  const values: string[] = []
  for await (const { value } of subscriber) values.push(value)
  return values
}

/** Publishes until it is refused. @returns how many were acknowledged, and the refusal */
async function fill(
  publisher: Publisher<string>,
  most: number,
): Promise<{ readonly stored: number; readonly error: unknown }> {
  for (const n of numbers(0, most)) {
    try {
      await publisher.publishAsync(`${n} ${block}`, { timeoutMs: 30_000 })
    } catch (error) {
      return { stored: n, error }
    }
  }
  throw new Error('it was never full')
}

it('says that a stream is full, keeps what was acknowledged, and goes on when there is room', () =>
  withCluster(async ({ url }) => {
    await using hermes = await open(url)
    const publisher = await hermes.topic('full', { codec: text }).publisher()
    const limit = (bytes: number) =>
      streamsOf(url, (manager) =>
        manager.streams.update(streamOf('full'), { discard: DiscardPolicy.New, max_bytes: bytes }),
      )
    await limit(40_000)
    const { stored, error } = await fill(publisher, 20)
    expect(error).toMatchObject({ code: 'DISK_FULL' })
    expect(stored).toBeGreaterThan(5)
    await failure('DISK_FULL', () => publisher.publishAsync(block))
    await limit(80_000)
    expect(await publisher.publishAsync('more')).toMatchObject({ sequence: stored + 1 })
    expect(await valuesOf(hermes, 'full')).toEqual([...numbers(0, stored).map((n) => `${n} ${block}`), 'more'])
  }))

it('says that the servers may take no more', () =>
  withCluster(
    async ({ url }) => {
      const hermes = await open(url)
      const { stored, error } = await fill(await hermes.topic('limited', { codec: text }).publisher(), 2000)
      expect(error).toMatchObject({ code: 'DISK_FULL' })
      expect(await valuesOf(hermes, 'limited')).toEqual(numbers(0, stored).map((n) => `${n} ${block}`))
      // (the last one is not there)
      await failure('DISK_FULL', () => hermes.close())
    },
    '',
    { jetstream: 'max_file_store: 1MB' },
  ))

it('refuses to be purged, or to lose single messages, by whoever has the right to ask', () =>
  withCluster(async ({ url }) => {
    await using hermes = await open(url)
    await (await hermes.topic('kept', { codec: text }).publisher()).publishAsync('one')
    await expect(streamsOf(url, (manager) => manager.streams.purge(streamOf('kept')))).rejects.toThrow('purge')
    await expect(streamsOf(url, (manager) => manager.streams.deleteMessage(streamOf('kept'), 1))).rejects.toThrow(
      'delete',
    )
    expect(await valuesOf(hermes, 'kept')).toEqual(['one'])
  }))

it('tells a codec that is not that of the topic, and a user who may not publish', () =>
  withCluster(async ({ url }) => {
    const as = (user: string) => open(url.replace('nats://', `nats://${user}:secret@`))
    await using writer = await as('writer')
    await (await writer.topic('guarded', { codec: text }).publisher()).publishAsync('one')
    await failure('CODEC_MISMATCH', () => writer.topic('guarded', { codec: json() }).publisher())
    await failure('CODEC_MISMATCH', () => writer.topic('guarded', { codec: json() }).subscriber())
    const reader = await as('reader')
    expect(await valuesOf(reader, 'guarded')).toEqual(['one'])
    const publisher = await reader.topic('guarded', { codec: text }).publisher()
    await failure('ACCESS_DENIED', () => publisher.publishAsync('two'))
    await failure('ACCESS_DENIED', () => reader.close())
    expect(await valuesOf(writer, 'guarded')).toEqual(['one'])
  }, 'authorization { users: [ { user: writer, password: secret }, { user: reader, password: secret, permissions: { publish: { deny: ["hermes.topic.>"] } } } ] }'))

test.skipIf(natsMissing !== undefined || !isRoot)(
  'never says that a message is stored when the disk of the server was full, and has what it acknowledged before',
  async () => {
    const folder = makeFolder()
    const mount = (...args: readonly string[]) => spawnSync('mount', [...args, folder]).status === 0
    if (!mount('-t', 'tmpfs', '-o', 'size=4m', 'none')) {
      removeFolder(folder)
      throw new Error('a small disk can not be made here')
    }
    try {
      const cluster = await startNats(1, '', { folder, jetstream: 'max_file_store: 1GB' })
      try {
        let stored: number
        {
          const hermes = await open(cluster.url)
          const filled = await fill(await hermes.topic('small', { codec: text }).publisher(), 2000)
          stored = filled.stored
          expect(['DISK_FULL', 'TIMED_OUT', 'CONNECTION_FAILED']).toContain((filled.error as { code: string }).code)
          expect(stored).toBeGreaterThan(100)
          await hermes.close({ timeoutMs: 1000 }).catch(() => {})
        }
        const server = cluster.servers[0]
        await server?.kill()
        expect(mount('-o', 'remount,size=64m')).toBe(true)
        await server?.start()
        await using hermes = await open(cluster.url)
        const values = await valuesOf(hermes, 'small')
        // (the one that was not acknowledged may be there)
        expect(values.slice(0, stored)).toEqual(numbers(0, stored).map((n) => `${n} ${block}`))
        expect(values.length).toBeLessThanOrEqual(stored + 1)
        const publisher = await hermes.topic('small', { codec: text }).publisher()
        expect((await publisher.publishAsync('more')).sequence).toBe(values.length + 1)
      } finally {
        for (const server of cluster.servers) await server.kill()
      }
    } finally {
      spawnSync('umount', [folder])
      removeFolder(folder)
    }
  },
  180_000,
)

test('refuses a server that is too old, and says which is needed', async () => {
  const sockets = new Set<Socket>()
  const info = { server_id: 'old', version: '2.9.10', headers: true, max_payload: 1_048_576, jetstream: true, proto: 1 }
  const server = createServer((socket) => {
    sockets.add(socket.on('error', () => {}))
    socket.write(`INFO ${JSON.stringify(info)}\r\n`)
    socket.on('data', (data) => {
      if (data.includes('PING')) socket.write('PONG\r\n')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  try {
    const error = await failure('VERSION_MISMATCH', () => open(`nats://127.0.0.1:${port}`))
    expect(error.message).toContain('2.9.10')
    expect(error.message).toContain('2.10.0')
  } finally {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})
