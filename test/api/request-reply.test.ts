import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { serve } from '../../lib/broker/broker.js'
import { callTopics } from '../../lib/client/call-options.js'
import { callKind } from '../../lib/codec/call.js'
import { custom, f64, type Hermes, HermesError, json, open, type Responder, struct } from '../../lib/index.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()

interface Place extends AsyncDisposable {
  /** What `open()` takes, in any process. */
  readonly place: string
  readonly hermes: Hermes
}

async function local(): Promise<Place> {
  const place = folder()
  const hermes = await open(place)
  return { place, hermes, [Symbol.asyncDispose]: () => hermes.close() }
}

async function remote(): Promise<Place> {
  const broker = await serve({ dir: folder(), port: 0, log: () => {} })
  const hermes = await open(broker.url)
  const close = async () => {
    await hermes.close()
    await broker.close()
  }
  return { place: broker.url, hermes, [Symbol.asyncDispose]: close }
}

/** A responder in a process of its own. Resolves when it answers. */
async function responderProcess(place: string, body: string) {
  const program = join(folder(), 'responder.mjs')
  writeFileSync(
    program,
    `import { open } from ${JSON.stringify(join(root, 'dist/index.js'))}
     const hermes = await open(process.argv[2])
     await hermes.responder('sums', async (request, context) => { ${body} })
     console.log('ready')`,
  )
  const child = spawn(process.execPath, [program, place], { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return {
    child,
    async kill(): Promise<void> {
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    },
  }
}

describe.each([
  ['in a directory', local],
  ['through a broker', remote],
])('%s', (_, make) => {
  it('each of many requests of many clients gets its own reply, also before a responder is there', async () => {
    await using there = await make()
    await using other = await open(there.place)
    const requesters = [
      await there.hermes.requester<number, string>('sums'),
      await there.hermes.requester<number, string>('sums'),
      await other.requester<number, string>('sums'),
    ]
    const asked = requesters.flatMap((requester, who) =>
      Array.from({ length: 200 }, (_, n) => requester.request(who * 1000 + n)),
    )
    expect(requesters[0]?.pending).toBe(200)
    await there.hermes.responder<number, string>('sums', (n) => `reply to ${n}`)
    await other.responder<number, string>('sums', async (n) => `reply to ${n}`)
    const expected = requesters.flatMap((_, who) => Array.from({ length: 200 }, (_, n) => `reply to ${who * 1000 + n}`))
    expect(await Promise.all(asked)).toEqual(expected)
    expect(requesters.map(({ pending }) => pending)).toEqual([0, 0, 0])
  }, 60_000)

  it('what a handler throws travels, and so does a reply that can not be encoded', async () => {
    await using there = await make()
    const { hermes } = there
    await hermes.responder<string, unknown>('sums', (what) => {
      if (what === 'type') throw new TypeError('no such thing')
      if (what === 'code') throw new HermesError('DISK_FULL', 'no room for it')
      if (what === 'none') return Promise.reject(undefined)
      return what === 'bigint' ? 5n : { fine: what }
    })
    await using requester = await hermes.requester<string, unknown>('sums')
    const thrown = await failure('REQUEST_FAILED', () => requester.request('type'))
    expect([thrown.message, thrown.details]).toEqual([
      "The handler of 'sums' failed: no such thing",
      { name: 'TypeError', code: '', message: 'no such thing' },
    ])
    const coded = await failure('REQUEST_FAILED', () => requester.request('code'))
    expect(coded.details).toMatchObject({ name: 'HermesError', code: 'DISK_FULL' })
    expect((await failure('REQUEST_FAILED', () => requester.request('none'))).details['message']).toBe('undefined')
    expect((await failure('REQUEST_FAILED', () => requester.request('bigint'))).details['code']).toBe('ENCODE_FAILED')
    expect(await requester.request('yes')).toEqual({ fine: 'yes' })
  })

  it('what a service was made with is told in the numbers of its options', async () => {
    await using there = await make()
    const { hermes } = there
    const responder = await hermes.responder<string, string>('sums', (value) => value)
    const requester = await hermes.requester<string, string>('sums')
    for (const other of [
      () => hermes.requester('sums', { maxPayloadBytes: 1000 }),
      () => hermes.responder('sums', () => 1, { maxPayloadBytes: 1000 }),
    ]) {
      const refused = await failure('CONFIG_MISMATCH', other)
      expect(refused.message).toContain("Service 'sums' was made with maxPayloadBytes 65536, which is fixed, not 1000.")
      expect(refused.details).toMatchObject({ service: 'sums', found: 65_536, wanted: 1000 })
      await (await hermes.requester('sums', { maxPayloadBytes: refused.details['found'] as number })).close()
    }
    const large = await failure('PAYLOAD_TOO_LARGE', () => requester.request('x'.repeat(70_000)))
    expect(large.message).toContain("service 'sums' takes 65536 at most")
    expect(large.details).toMatchObject({ service: 'sums', maxPayloadBytes: 65_536, limit: 65_536 })
    expect(await requester.request('x'.repeat(65_000))).toHaveLength(65_000)
    await requester.close()
    await responder.close()
  })

  it('a request ends by its time or its signal; then the handler is told, and nobody else waits longer', async () => {
    await using there = await make()
    const { hermes } = there
    const stopped: string[] = []
    const responder = await hermes.responder<string, string>('sums', async (name, { signal, deadline, deliveries }) => {
      expect([deadline.getTime() > Date.now() - 60_000, deliveries]).toEqual([true, 1])
      if (name === 'quick') return 'quick'
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      stopped.push(name)
      return 'too late'
    })
    await using requester = await hermes.requester<string, string>('sums')
    expect(await requester.request('quick')).toBe('quick')
    await failure('TIMED_OUT', () => requester.request('slow', { timeoutMs: 200 }))
    const stop = new AbortController()
    const given = failure('ABORTED', () => requester.request('given up', { signal: stop.signal }))
    while (responder.running < 1 || stopped.length < 1) await new Promise((resolve) => setTimeout(resolve, 5))
    stop.abort()
    await given
    while (stopped.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
    expect(stopped).toEqual(['slow', 'given up'])
    expect(await requester.request('quick')).toBe('quick')
    await failure('ABORTED', () => requester.request('x', { signal: AbortSignal.abort() }))
    await failure('INVALID_ARGUMENT', () => requester.request('x', { timeoutMs: -1 }))
  }, 60_000)

  it('a responder in another process answers; one that is killed leaves its requests to the others', async () => {
    await using there = await make()
    await using requester = await there.hermes.requester<{ n: number }, { n: number; pid: number }>('sums')
    const first = await responderProcess(there.place, 'return { n: request.n + 1, pid: process.pid }')
    expect(await requester.request({ n: 1 })).toEqual({ n: 2, pid: first.child.pid })
    await first.kill()
    // It takes what comes, and answers nothing.
    const hung = await responderProcess(there.place, 'await new Promise(() => {})')
    const asked = Array.from({ length: 10 }, (_, n) => requester.request({ n }))
    while ((await there.hermes.admin.describeGroup('sums.requests', 'responders')).claimed < 10)
      await new Promise((resolve) => setTimeout(resolve, 20))
    const second = await responderProcess(there.place, 'return { n: request.n + 1, pid: process.pid }')
    await hung.kill()
    expect(await Promise.all(asked)).toEqual(
      Array.from({ length: 10 }, (_, n) => ({ n: n + 1, pid: second.child.pid })),
    )
    await second.kill()
  }, 120_000)

  it('a requester that is closed tells the handlers', async () => {
    await using there = await make()
    const responder = await there.hermes.responder<number, number>('sums', async (_, { signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      return 1
    })
    const requester = await there.hermes.requester<number, number>('sums')
    const given = failure('CLOSED', () => requester.request(1))
    await expect.poll(() => responder.running).toBe(1)
    await requester.close()
    await given
    await expect.poll(() => responder.running).toBe(0)
  }, 60_000)

  it('no handler begins while its responder closes: its request goes to another one, as if it had not been delivered', async () => {
    await using there = await make()
    const { hermes } = there
    let closing: Promise<void> | undefined
    let first: Responder<number, number> | undefined
    const request = custom<number>({
      name: 'closing',
      fingerprint: '1',
      encode: (value) => Uint8Array.of(value),
      decode: ([value]) => {
        closing ??= first?.close()
        return value as number
      },
    })
    const begun: number[] = []
    first = await hermes.responder<number, number>(
      'sums',
      async (value, { signal }) => {
        begun.push(value)
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
        return 0
      },
      { request },
    )
    const requester = await hermes.requester<number, number>('sums', { request })
    const reply = requester.request(7)
    await first.closed()
    await closing
    expect(begun).toEqual([])
    await hermes.responder<number, number>('sums', (_, { deliveries }) => deliveries, { request })
    expect(await reply).toBe(1)
  }, 60_000)

  it('a request that was given up before its handler began is passed over', async () => {
    await using there = await make()
    const { hermes } = there
    const begun: string[] = []
    const responder = await hermes.responder<string, string>('sums', async (name, { signal }) => {
      begun.push(name)
      if (name === 'wait')
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      return name
    })
    await using requester = await hermes.requester<string, string>('sums')
    const [client, number] = [7n, 1]
    const by = await callTopics<string, string>(hermes, 'test', 'sums', {}, []).requests.publisher()
    const stop = new AbortController()
    const given = failure('ABORTED', () => requester.request('wait', { signal: stop.signal }))
    await expect.poll(() => begun).toEqual(['wait'])
    by.publish({ client, number, kind: callKind.cancel, deadlineMs: 0 })
    await by.flush()
    // Once the handler was told of the one that was given up later, the earlier one is known, too.
    stop.abort()
    await given
    await expect.poll(() => responder.running).toBe(0)
    by.publish({ client, number, kind: callKind.request, deadlineMs: Date.now() + 600_000, value: 'given up' })
    await by.flush()
    expect(await requester.request('next')).toBe('next')
    expect(begun).toEqual(['wait', 'next'])
  }, 60_000)

  it('closing ends what waits; codecs are part of the topics', async () => {
    await using there = await make()
    const { hermes } = there
    const Numbers = struct({ x: f64, y: f64 })
    const codecs = { request: Numbers, reply: json } as never
    const responder = await hermes.responder<{ x: number; y: number }, number>('sums', ({ x, y }) => x + y, codecs)
    const requester = await hermes.requester<{ x: number; y: number }, number>('sums', codecs)
    expect(await requester.request({ x: 1, y: 2.5 })).toBe(3.5)
    await failure('CODEC_MISMATCH', () => hermes.requester('sums'))
    await failure('ENCODE_FAILED', () => requester.request({ x: 'one', y: 2 } as never))
    await responder.close()
    await responder.closed()
    const waiting = failure('CLOSED', () => requester.request({ x: 1, y: 1 }))
    await new Promise((resolve) => setImmediate(resolve))
    await requester.close()
    await waiting
    await failure('CLOSED', () => requester.request({ x: 1, y: 1 }))
    await failure('INVALID_NAME', () => hermes.requester('a/b'))
    await failure('UNKNOWN_OPTION', () => hermes.requester('a', { timeout: 5 } as object))
    await failure('INVALID_ARGUMENT', () => hermes.responder('a', undefined as never))
  })
})

it('a ring carries no requests', async () => {
  await using hermes = await open(`ring:requests-${process.pid}`)
  const refused = await failure('UNSUPPORTED', () => hermes.requester('sums'))
  expect(refused.message).toContain("Requests to 'sums'")
})
