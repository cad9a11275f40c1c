// What durability costs: synced publishing beside a bare loop of pwrite and fdatasync on the same disk; and how fast a log is checked and recovered.
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { open } from 'hermes-mq'
import { Sender } from './publish.js'
import { Child, runChild } from './support/children.js'
import { bytes, digits, duration, range } from './support/format.js'
import { frameBytes, Quote, QuotePool } from './support/quote.js'
import { trialsOf } from './support/statistics.js'
import type { Context, Link, Roles, Workload } from './support/workload.js'

const processes = 4
const awaiting = 64
const mostMs = 1500
/** In the control file: see docs/log-format.md. */
const bootIdAt = 896

interface BareArgs {
  readonly folder: string
  /** Bytes that the file has before: overwriting needs no change of the file's size and extents. */
  readonly written: number
}

/** Returns ns per write of a frame that is on the disk. */
async function bare({ folder, written }: BareArgs): Promise<number> {
  const file = openSync(join(folder, `bare-${written}`), 'w')
  const frame = Buffer.alloc(frameBytes, 7)
  try {
    if (written > 0) writeSync(file, Buffer.alloc(written))
    fdatasyncSync(file)
    let count = 0
    const begun = performance.now()
    do {
      writeSync(file, frame, 0, frame.length, count * frameBytes)
      fdatasyncSync(file)
      count++
    } while (performance.now() - begun < mostMs)
    return ((performance.now() - begun) * 1e6) / count
  } finally {
    closeSync(file)
  }
}

interface SyncArgs {
  readonly place: string
  readonly awaiting: number
}

/** Returns how many messages were synced, and in which time, in ns. Begins when it is told to. */
async function synced({ place, awaiting }: SyncArgs, link: Link): Promise<{ count: number; ns: number }> {
  await using hermes = await open(place)
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher({ durability: 'synced' })
  const pool = new QuotePool()
  let count = 0
  const run = async (until: number) => {
    do {
      await publisher.publishAsync(pool.at(++count))
    } while (performance.now() < until)
  }
  await publisher.publishAsync(pool.at(0))
  link.tell('ready')
  await link.heard()
  const begun = performance.now()
  await Promise.all(Array.from({ length: awaiting }, () => run(begun + mostMs)))
  return { count, ns: (performance.now() - begun) * 1e6 }
}

/** Leaves `size` bytes behind that were not synced: it kills itself. */
async function dirty({ place, size }: { place: string; size: number }): Promise<void> {
  const hermes = await open(place)
  const publisher = await hermes.topic('bench', { codec: Quote, segmentBytes: 2 ** 30 }).publisher({ exclusive: true })
  await new Sender(publisher, 256).send(1, Math.floor(size / frameBytes))
  process.kill(process.pid, 'SIGKILL')
}

async function recover({ place }: { place: string }): Promise<{ ns: number; bytes: number }> {
  await using hermes = await open(place)
  const begun = performance.now()
  const publisher = await hermes.topic('bench', { codec: Quote }).publisher()
  const ns = (performance.now() - begun) * 1e6
  return { ns, bytes: publisher.recovery?.bytes ?? 0 }
}

async function verify({ place }: { place: string }): Promise<{ ns: number; bytes: number }> {
  await using hermes = await open(place)
  await hermes.verify('bench')
  const { seconds, bytes, damage } = await hermes.verify('bench')
  if (damage.length > 0) throw new Error('the topic is damaged')
  return { ns: seconds * 1e9, bytes }
}

export const roles: Roles = { bare, synced, dirty, recover, verify }

/** Messages per second of several processes at once. */
async function together(place: string, count: number, awaiting: number): Promise<number> {
  const children = Array.from(
    { length: count },
    () => new Child<{ count: number; ns: number }>('sync', 'synced', { place, awaiting } satisfies SyncArgs),
  )
  await Promise.all(children.map((child) => child.heard()))
  for (const child of children) child.tell('go')
  const results = await Promise.all(children.map((child) => child.result))
  return results.reduce((sum, one) => sum + (one.count * 1e9) / one.ns, 0)
}

export const workload: Workload = {
  name: 'sync',
  title: 'Durability',
  about:
    '64-byte messages at the level synced, each acknowledged after fdatasync, in alternation with loops of pwrite and fdatasync of as many bytes on the same disk. Then a publisher is killed and leaves a topic that was never synced; ' +
    'the next publisher recovers it, and it is verified from the page cache.',
  async run(context: Context) {
    const place = context.place('dir')
    const folder = dirname(place.path)
    const cases = { appended: [] as number[], overwritten: [] as number[], one: [] as number[], group: [] as number[] }
    for (let trial = 1; trial <= context.trials; trial++) {
      context.progress(`trial ${trial} of ${context.trials}`)
      cases.appended.push(await runChild<number>('sync', 'bare', { folder, written: 0 } satisfies BareArgs))
      cases.one.push(1e9 / (await together(place.name, 1, 1)))
      cases.overwritten.push(
        await runChild<number>('sync', 'bare', { folder, written: 16 * 2 ** 20 } satisfies BareArgs),
      )
      cases.group.push(1e9 / (await together(place.name, processes, awaiting)))
    }
    place.remove()
    const { appended, overwritten, one, group } = Object.fromEntries(
      Object.entries(cases).map(([name, list]) => [name, trialsOf(list)]),
    ) as Record<keyof typeof cases, ReturnType<typeof trialsOf>>

    const large = context.place('dir')
    const size = Math.min(0.98, context.gib) * 2 ** 30
    context.progress(`writing ${bytes(size)}`)
    // Its process ends without a result.
    await runChild<void>('sync', 'dirty', { place: large.name, size }).catch(() => {})
    // As after a reboot: then only what was synced is taken for granted, and all of it has to be looked at.
    const control = openSync(join(large.path, 'topics', 'bench', 'control'), 'r+')
    writeSync(control, Buffer.alloc(16, 1), 0, 16, bootIdAt)
    closeSync(control)
    const recovery = await runChild<{ ns: number; bytes: number }>('sync', 'recover', { place: large.name })
    if (recovery.bytes < size * 0.9) throw new Error(`only ${bytes(recovery.bytes)} were recovered`)
    const verified: number[] = []
    for (let trial = 0; trial < context.trials; trial++) {
      const { ns, bytes } = await runChild<{ ns: number; bytes: number }>('sync', 'verify', { place: large.name })
      verified.push(bytes / ns)
    }
    large.remove()
    const rate = trialsOf(verified)
    const cost = one.median / appended.median
    const gain = appended.median / group.median
    const row = (what: string, trials: typeof one) => [
      what,
      duration(trials.median),
      range(trials, duration),
      digits(1e9 / trials.median),
    ]
    return {
      tables: [
        {
          title: 'Per synced message',
          columns: ['what', 'median', 'range', 'per second'],
          rows: [
            row('bare loop, appending', appended),
            row('bare loop, overwriting', overwritten),
            row('one publisher, one message at a time', one),
            row(`${processes} processes, ${awaiting} awaiting in each`, group),
          ],
        },
        {
          title: 'Checking',
          columns: ['what', 'measured'],
          rows: [
            [`recovery of ${bytes(recovery.bytes)} behind the checkpoint`, duration(recovery.ns)],
            ['verify from the page cache', `${digits(rate.median)} GB/s (${range(rate, digits)})`],
          ],
        },
      ],
      targets: [
        {
          what: 'one synced publisher, against the appending loop',
          target: '≤ 1.3 times',
          measured: `${digits(cost)} times`,
          met: cost <= 1.3,
        },
        {
          what: `${processes} × ${awaiting} awaiting, against the loop's rate`,
          target: '≥ 30 times',
          measured: `${digits(gain)} times`,
          met: gain >= 30,
        },
        {
          what: 'verify from page cache',
          target: '≥ 4 GB/s',
          measured: `${digits(rate.median)} GB/s`,
          met: rate.median >= 4,
        },
        {
          what: `recovery of a dirty tail of ${bytes(recovery.bytes)}`,
          target: '≤ 1 s',
          measured: duration(recovery.ns),
          met: recovery.ns <= 1e9,
        },
      ],
      notes: [],
      data: { appended, overwritten, one, group, recovery, verify: rate },
    }
  },
}
