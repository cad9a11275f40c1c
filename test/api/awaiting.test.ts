import { describe, expect, it, vi } from 'vitest'
import { type From, HermesError, open, raw } from '../../lib/index.js'
import { type Awaited, AwaitedSubscriber } from '../../lib/placement/awaited-subscriber.js'
import type { SubscriberPort } from '../../lib/placement/port.js'
import { foldersPerTest } from '../helpers/folder.js'

/** Topics that are not there, one for each subscriber; `looks` counts how often somebody looks for one. */
async function awaiting(count: number, work: (looks: () => number) => Promise<void>): Promise<void> {
  let looks = 0
  const all: SubscriberPort[] = []
  vi.useFakeTimers()
  try {
    for (let n = 0; n < count; n++) {
      const awaited: Awaited = {
        key: `awaiting ${n}`,
        topic: 't',
        open: async () => {
          looks++
          throw new HermesError('NOT_FOUND', 'There is no such topic.')
        },
        openNow: () => undefined,
        revision: () => '',
        check: () => {},
      }
      all.push(await AwaitedSubscriber.open(awaited, 'latest'))
    }
    await work(() => looks)
  } finally {
    for (const one of all) one.close()
    vi.useRealTimers()
  }
}

it('one subscriber looks for its topic ten times per second', async () => {
  await awaiting(1, async (looks) => {
    await vi.advanceTimersByTimeAsync(5000)
    const before = looks()
    await vi.advanceTimersByTimeAsync(2000)
    expect(looks() - before).toBeGreaterThanOrEqual(19)
  })
})

it('three hundred look no more often together than fifty do', async () => {
  await awaiting(300, async (looks) => {
    await vi.advanceTimersByTimeAsync(4000)
    const before = looks()
    await vi.advanceTimersByTimeAsync(2400)
    const perSecond = (looks() - before) / 2.4
    expect(perSecond).toBeGreaterThan(250)
    expect(perSecond).toBeLessThanOrEqual(600)
  })
}, 120_000)

/** A port in a topic that has nine messages, or none. */
class Port implements SubscriberPort {
  readonly region = { bytes: new Uint8Array(0), data: new DataView(new ArrayBuffer(0)) }
  offset = 0
  end = 0
  sequence = 1
  closed = 0
  from: From
  readonly messages: number
  constructor(from: From, messages: number) {
    this.from = from
    this.messages = messages
  }
  fetch(): number {
    return this.messages
  }
  async park(): Promise<void> {}
  seek(target: From): void {
    this.from = target
  }
  skipDamage(): number {
    return 0
  }
  nextSequence(): number {
    return this.messages + 1
  }
  close(): void {
    this.closed++
  }
}

const absent = (code: 'NOT_FOUND' | 'TOPIC_DELETED') => new HermesError(code, 'It is gone.')

/** Polls for 100 ms without a turn of the event loop. */
function pollBusily(port: SubscriberPort): number {
  let found = 0
  for (const until = performance.now() + 100; found === 0 && performance.now() < until; ) found = port.fetch(10)
  return found
}

describe('who waits for a topic', () => {
  const nothing: Awaited = {
    key: 'awaiting',
    topic: 't',
    open: async () => Promise.reject(absent('NOT_FOUND')),
    openNow: () => undefined,
    revision: () => '',
    check: () => {},
  }

  it.each(['NOT_FOUND', 'TOPIC_DELETED'] as const)(
    'goes on when it is deleted while it is opened: %s',
    async (code) => {
      let opened: Port | undefined
      let looks = 0
      const awaited: Awaited = {
        ...nothing,
        open: async () => Promise.reject(absent(code)),
        openNow: (from) => {
          if (++looks < 3) throw absent(code)
          opened = new Port(from, 9)
          return opened
        },
      }
      const port = await AwaitedSubscriber.open(awaited, 'earliest')
      expect(pollBusily(port)).toBe(9)
      port.close()
      expect(opened?.closed).toBe(1)
    },
  )

  it('waits for the next one of its name when a topic is deleted before its first message was read', async () => {
    const ports: Port[] = []
    let messages = 0
    const awaited: Awaited = {
      ...nothing,
      open: async (from) => {
        ports.push(new Port(from, ports.length === 0 ? 0 : 9))
        return ports.at(-1) as Port
      },
      check: () => {
        throw absent('NOT_FOUND')
      },
    }
    const port = (await AwaitedSubscriber.open(awaited, 'earliest')) as AwaitedSubscriber
    const [first] = ports as [Port]
    first.fetch = () => messages
    expect(port.fetch(10)).toBe(0)
    messages = 2
    expect(port.fetch(10)).toBe(0)
    await port.look()
    expect(port.fetch(10)).toBe(9)
    port.close()
    expect(ports.map(({ closed }) => closed)).toEqual([1, 1])
  })

  it('closes each port once when two looks find it at the same time', async () => {
    const ports: Port[] = []
    let found = (_: Port) => {}
    const make = (from: From) => {
      ports.push(new Port(from, 9))
      return ports.at(-1) as Port
    }
    let looks = 0
    const awaited: Awaited = {
      ...nothing,
      open: () => {
        if (++looks === 1) return Promise.reject(absent('NOT_FOUND'))
        return new Promise<SubscriberPort>((resolve) => {
          found = resolve
        })
      },
      openNow: make,
    }
    const port = (await AwaitedSubscriber.open(awaited, 'earliest')) as AwaitedSubscriber
    const look = port.look()
    expect(pollBusily(port)).toBe(9)
    found(make('earliest'))
    await look
    expect(ports.map(({ closed }) => closed)).toEqual([0, 1])
    port.close()
    port.close()
    expect(ports.map(({ closed }) => closed)).toEqual([1, 1])
  })

  it('begins where it sought, also while the topic was being opened', async () => {
    let found = (_: Port) => {}
    let looks = 0
    const awaited: Awaited = {
      ...nothing,
      open: () => {
        if (++looks === 1) return Promise.reject(absent('NOT_FOUND'))
        return new Promise<SubscriberPort>((resolve) => {
          found = resolve
        })
      },
    }
    const port = (await AwaitedSubscriber.open(awaited, 'earliest')) as AwaitedSubscriber
    const look = port.look()
    const date = new Date(5)
    port.seek(date)
    const opened = new Port('earliest', 9)
    found(opened)
    await look
    expect(port.opened).toBe(opened)
    expect(opened.from).toBe(date)
    port.close()
  })
})

const folder = foldersPerTest()

it.each(['latest', 'earliest'] as const)(
  'who awaits the first message, from the %s on, gets that of a topic that is made anew',
  async (from) => {
    const place = folder()
    await using here = await open(place)
    await using there = await open(place)
    const topic = { codec: raw, segmentBytes: 65_536, maxPayloadBytes: 1024 }
    await (await here.topic('t', topic).publisher()).close()
    const subscriber = await here.topic('t', topic).subscriber({ from })
    await there.admin.deleteTopic('t', { force: true })
    const publisher = await there.topic('t', topic).publisher()
    for (let n = 0; n < 10; n++) await publisher.publishAsync(Buffer.of(n))
    const seen: number[] = []
    await expect
      .poll(() => subscriber.poll((bytes) => void seen.push(bytes[0] as number)) + seen.length, { timeout: 60_000 })
      .toBeGreaterThanOrEqual(10)
    expect(seen).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  },
)
