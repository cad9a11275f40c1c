import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { BrokerProcess } from '../broker/harness.js'

const root = join(import.meta.dirname, '../..')
const runFile = promisify(execFile)
const hasPython = spawnSync('python3', ['--version']).status === 0
const python = { PYTHONPATH: join(root, 'clients/python'), PYTHONDONTWRITEBYTECODE: '1' }

let folder: string

beforeAll(async () => {
  const { ensureExamples } = (await import(pathToFileURL(join(root, 'scripts/lib/build.mjs')).href)) as {
    ensureExamples(): Promise<void>
  }
  await ensureExamples()
  folder = mkdtempSync(join(tmpdir(), 'hermes-example-python-'))
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe.skipIf(!hasPython)('a producer in Python and a consumer in TypeScript', () => {
  it('share the layout that the consumer declares', async () => {
    const broker = await BrokerProcess.start(join(folder, 'data'))
    let consumer: ChildProcess | undefined
    try {
      const schema = join(folder, 'trade.schema.json')
      consumer = spawn(process.execPath, [join(root, 'build/js/examples/python/consumer.js'), broker.url, schema], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let said = ''
      consumer.stdout?.on('data', (data) => {
        said += String(data)
      })
      const ended = once(consumer, 'exit')
      await Promise.race([once(consumer.stdout as NodeJS.ReadableStream, 'data'), ended])
      const producer = await runFile('python3', [join(root, 'examples/python/producer.py'), broker.url, schema], {
        env: { ...process.env, ...python },
        timeout: 25_000,
      })
      expect(producer).toEqual({ stdout: 'published 1000 trades\n', stderr: '' })
      expect(await ended).toEqual([0, null])
      expect(said).toBe(`waiting for trades
received 1000 trades
BTC 224.50 on average
ETH 224.75 on average
SOL 225.00 on average
3 bought more than sold
`)
    } finally {
      consumer?.kill()
      await broker.kill()
    }
  })
})
