import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const compiled = join(root, 'build/js/examples')
const runFile = promisify(execFile)

let folder: string

beforeAll(async () => {
  const { ensureExamples } = (await import(pathToFileURL(join(root, 'scripts/lib/build.mjs')).href)) as {
    ensureExamples(): Promise<void>
  }
  await ensureExamples()
  folder = mkdtempSync(join(tmpdir(), 'hermes-examples-'))
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What each example prints. Figures that depend on the machine are left open. */
const outputs: Record<string, string | RegExp> = {
  pubsub: `1: 3 BTC at 50000
2: 10 ETH at 2500.5
3: 7 SOL at 140.25
polled 1 message, 0 to come
`,
  batches: /^published 10000 readings\nreceived 10000 readings in [1-9]\d* batches\n21\.50 degrees on average\n$/,
  replay: `earliest:   1 started, 2 listening, 3 connected, 4 disconnected, 5 stopped
sequence 3: 3 connected, 4 disconnected, 5 stopped
since noon: 4 disconnected, 5 stopped
latest:     nothing yet
after seek(2): listening
`,
  broker: `feed: connected
the broker has message 1 on stable storage
desk: 1: BTC at 50000
desk: 2: ETH at 2500.5
desk may not publish: UNAUTHORIZED
`,
  'worker-threads': '10000 results of 2 workers, each in order\n',
  'worker-pool': '2000 jobs done, though one of 3 workers died\n',
  rings: '10000 results of 2 workers, each in order\n',
  durable: new RegExp(
    [
      '^payment 1 is safe, made in 2\\d\\d\\d',
      '100 more are safe, up to sequence 101',
      'everything before 102 is on stable storage',
      'found 101 payments again, 6200 cents in all\n$',
    ].join('\n'),
  ),
  validation: `refused: A published value is not valid at quantity: must be a whole number from 1 on
[{"message":"must be a whole number from 1 on","path":["quantity"]}]
1: 2 of A-1
2: 5 of A-3
the topic holds json
`,
  'bring-your-own-transport': `sent 1000 prices
passed over 12 bytes: there is no frame here
received 1000 prices, 50499.50 on average
`,
  'request-reply': `2 + 3 = 5
at once: 2, 60, 4
REQUEST_FAILED: there is nothing to add
both sides have ended
`,
  quickstart: new RegExp(
    [
      '^published   20,000 messages, [\\d.]+ million/s, then synced to disk',
      'subscriber 1 20,000 messages, 100\\.00 % delivered, in sequence and identical, [\\d.]+ million/s',
      'subscriber 2 20,000 messages, 100\\.00 % delivered, in sequence and identical, [\\d.]+ million/s\n$',
    ].join('\n'),
  ),
}

const names = readdirSync(join(root, 'examples'))
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.slice(0, -'.ts'.length))

test('every example has its expected output here', () => {
  expect(names.toSorted()).toEqual(Object.keys(outputs).sort())
})

/** Those that take a place as their argument. */
const placed = ['pubsub', 'batches', 'replay', 'request-reply', 'worker-threads']

test.each(placed)('%s says the same through a broker, in a process of its own', async (name) => {
  const place = join(folder, `served-${name}`)
  const broker = spawn(
    process.execPath,
    [join(root, 'dist/cli/main.js'), 'serve', '--dir', place, '--port', '0', '-q'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  try {
    const [said] = await once(broker.stdout, 'data')
    const url = /tcp:\/\/\S+/.exec(String(said))?.[0] ?? ''
    const { stdout, stderr } = await runFile(process.execPath, [join(compiled, `${name}.js`), url], { timeout: 25_000 })
    expect(stderr).toBe('')
    const expected = outputs[name]
    if (expected instanceof RegExp) expect(stdout).toMatch(expected)
    else expect(stdout).toBe(expected)
    // It went through the broker.
    expect(readdirSync(join(place, 'topics')).length).toBeGreaterThan(0)
  } finally {
    broker.kill('SIGTERM')
    if (broker.exitCode === null) await once(broker, 'exit')
  }
})

test.each(names)('%s runs, says what it should, and leaves nothing behind', (name) => {
  // A temporary folder of its own, so that what an example leaves behind is seen.
  const temporary = join(folder, name)
  mkdirSync(temporary)
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, [join(compiled, `${name}.js`)], {
    encoding: 'utf8',
    timeout: 25_000,
    env: { ...process.env, TMPDIR: temporary, QUICKSTART_MESSAGES: '20000' },
  })
  expect({ stderr, status, signal }).toEqual({ stderr: '', status: 0, signal: null })
  const expected = outputs[name]
  if (expected instanceof RegExp) expect(stdout).toMatch(expected)
  else expect(stdout).toBe(expected)
  expect(readdirSync(temporary)).toEqual([])
})

test('the example in the README runs', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')
  const example = /^```ts\n([\s\S]*?)^```$/m.exec(readme)?.[1] ?? ''
  expect(example).toContain("from 'hermes-mq'")
  // Run as it stands: it has no type annotations. Below the package, so that the package finds itself by name.
  const place = mkdtempSync(join(root, 'build', 'readme-'))
  try {
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module'], {
      cwd: place,
      encoding: 'utf8',
      timeout: 25_000,
      input: example,
    })
    expect({ stdout, stderr, status }).toEqual({ stdout: 'BTC 50000\nBTC 50000 1\n', stderr: '', status: 0 })
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
})
