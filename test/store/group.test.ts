import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { open, raw } from '../../lib/index.js'
import { defaultRules } from '../../lib/model/group.js'
import type { NativeLog } from '../../lib/native/types.js'
import { type Group, type GroupPlan, groupPath, listGroups, openGroup, removeGroup } from '../../lib/store/group.js'
import type { GroupMember } from '../../lib/store/group-member.js'
import { openLog } from '../../lib/store/native-log.js'
import { failure } from '../helpers/failure.js'
import { foldersPerTest } from '../helpers/folder.js'
import { Program } from '../helpers/program.js'

const folder = foldersPerTest()

const plan: GroupPlan = {
  ...defaultRules,
  kind: 'shared',
  window: 1024,
  start: 1,
  upToSynced: false,
  settings: '{"deadLetter":"t.dead"}',
  fileMode: 0o600,
}

interface Place {
  readonly path: string
  readonly topicFolder: string
  readonly log: NativeLog
  /** Publishes messages that are numbered on, each of `bytes` bytes. */
  publish(count: number, bytes?: number): void
  group(change?: Partial<GroupPlan>, name?: string): Promise<Group>
  close(): Promise<void>
}

async function place(): Promise<Place> {
  const path = folder()
  const hermes = await open(path)
  const publisher = await hermes.topic('t', { codec: raw, segmentBytes: 1 << 22, maxPayloadBytes: 1 << 20 }).publisher()
  const topicFolder = join(path, 'topics', 't')
  const log = await openLog(topicFolder, 't', null)
  let number = 0
  return {
    path,
    topicFolder,
    log,
    publish(count, bytes = 16) {
      for (let i = 0; i < count; i++) {
        const message = new Uint8Array(bytes)
        new DataView(message.buffer).setUint32(0, ++number, true)
        publisher.publish(message)
      }
    },
    group: (change = {}, name = 'g') => openGroup('t', topicFolder, log, name, { ...plan, ...change }),
    async close() {
      log.close()
      await hermes.close()
    },
  }
}

/** The numbers in the messages that were claimed last. */
function numbers(member: GroupMember, count: number): number[] {
  return Array.from({ length: count }, (_, i) => member.region.data.getUint32(member.payloadAt(i), true))
}

const upTo = (last: number): number[] => Array.from({ length: last }, (_, i) => i + 1)
const claimOf = (member: GroupMember, i: number) => ({
  sequence: member.sequenceOf(i),
  deliveries: member.deliveriesOf(i),
  number: member.numberOf(i),
})

describe('a group', () => {
  test('hands messages out, and settles them one at a time, many, or as claimed', async () => {
    const at = await place()
    at.publish(10)
    const group = await at.group()
    expect(group.made).toBe(true)
    const member = await group.join('worker')
    expect(member.claim(256)).toBe(10)
    expect(numbers(member, 10)).toEqual(upTo(10))
    expect(member.stop).toBe('empty')
    expect(member.lengthOf(3)).toBe(16)
    expect(member.timestampOf(3)).toBeGreaterThan(1_700_000_000_000_000_000n)
    expect(claimOf(member, 9)).toEqual({ sequence: 10, deliveries: 1, number: expect.any(Number) })
    const { sequence, deliveries, number } = claimOf(member, 0)
    expect(member.settle(sequence, deliveries, number)).toBe(true)
    expect(member.settle(sequence, deliveries, number)).toBe(false)
    expect(member.settleAll([claimOf(member, 1), claimOf(member, 0), claimOf(member, 2)])).toEqual([claimOf(member, 0)])
    expect(member.settleClaimed(2, 10)).toBe(7)
    expect([0, 1, 7].map((i) => member.wasLost(i))).toEqual([true, false, false])
    const report = group.describe()
    expect(report).toMatchObject({ kind: 'shared', floor: 11, next: 11, end: 11, claimed: 0, settings: plan.settings })
    expect(report.totals).toMatchObject({ settled: 10, late: 3, redelivered: 0 })
    expect(report.members).toMatchObject([
      { name: 'worker', pid: process.pid, alive: true, late: false, settledTotal: 10 },
    ])
    member.close()
    group.close()
    await at.close()
  })

  test('gives what was returned to another member, after its delay', async () => {
    const at = await place()
    at.publish(3)
    const group = await at.group({ backoffMs: 20, maxBackoffMs: 20 })
    const a = await group.join('a')
    const b = await group.join('b')
    expect(a.claim(3)).toBe(3)
    a.settleClaimed(0, 1, 'returned')
    a.settleClaimed(1, 2, 'returned', -1)
    expect(b.claim(256)).toBe(1)
    expect(b.deliveriesOf(0)).toBe(2)
    while (b.claim(256) === 0) await b.wait(1000)
    expect(claimOf(b, 0)).toMatchObject({ sequence: 2, deliveries: 2 })
    a.close()
    expect(b.claim(256)).toBe(1)
    expect(b.sequenceOf(0)).toBe(3)
    b.close()
    group.close()
    await at.close()
  })

  test('makes room for messages larger than any before', async () => {
    const at = await place()
    at.publish(1)
    at.publish(1, 1 << 20)
    at.publish(1)
    const group = await at.group()
    const member = await group.join('')
    expect(member.claim(256)).toBe(1)
    expect(member.claim(256)).toBe(2)
    expect(numbers(member, 2)).toEqual([2, 3])
    expect(member.lengthOf(0)).toBe(1 << 20)
    expect(member.settleClaimed(0, 2)).toBe(2)
    member.close()
    group.close()
    await at.close()
  })

  test('wakes who waits for a message, and for its turn', async () => {
    const at = await place()
    const group = await at.group({ kind: 'exclusive' })
    const active = await group.join('')
    const standby = await group.join('')
    const waiting = active.wait(60_000)
    at.publish(1)
    await waiting
    expect(active.claim(1)).toBe(1)
    expect(standby.claim(1)).toBe(0)
    expect(standby.stop).toBe('standby')
    const turn = standby.wait(60_000)
    await expect(standby.wait(1)).rejects.toMatchObject({ code: 'BUSY' })
    active.close()
    await turn
    expect(standby.claim(1)).toBe(1)
    const cancelled = standby.wait(60_000)
    standby.cancelWait()
    await cancelled
    standby.close()
    await failure('CLOSED', () => standby.claim(1))
    group.close()
    await at.close()
  })

  test('takes keys from the payload, or from the caller', async () => {
    const at = await place()
    at.publish(8)
    for (const key of [{ offset: 4, bytes: 4 }, undefined]) {
      const group = await at.group({ kind: 'keyed', key }, key === undefined ? 'told' : 'found')
      expect(group.describe().key).toEqual(key)
      const a = await group.join('')
      const b = await group.join('')
      if (key === undefined) {
        expect(a.claim(8)).toBe(0)
        expect(a.stop).toBe('no-key')
        expect(a.nextUnkeyed(8)).toBe(8)
        expect(numbers(a, 8)).toEqual(upTo(8))
        for (let i = 0; i < 8; i++) a.setKey(i, 7)
        a.enterKeys(8)
      }
      expect(a.claim(2)).toBe(2)
      // All of one key: it's with the first member.
      expect(b.claim(8)).toBe(0)
      a.settleClaimed(0, 2)
      expect(b.claim(8)).toBe(6)
      b.close()
      a.close()
      group.close()
    }
    await at.close()
  })

  test('keeps a committed position for one subscriber at a time', async () => {
    const at = await place()
    at.publish(5)
    const group = await at.group({ kind: 'durable' })
    const a = await group.join('')
    const b = await group.join('')
    expect(a.committed).toBe(1)
    a.activate()
    await failure('EXCLUSIVE_HELD', () => b.activate())
    a.commit(4)
    await failure('OUT_OF_RANGE', () => a.commit(7))
    await failure('LEASE_LOST', () => b.commit(5))
    await group.sync()
    a.close()
    b.activate()
    expect(b.committed).toBe(4)
    b.close()
    group.close()
    await at.close()
  })

  test('is listed, reset, changed and removed', async () => {
    const at = await place()
    expect(await listGroups(at.topicFolder)).toEqual([])
    at.publish(5)
    const group = await at.group()
    await (await at.group({}, 'a')).close()
    expect(await listGroups(at.topicFolder)).toEqual(['a', 'g'])
    expect(groupPath(at.topicFolder, 'g')).toBe(join(at.topicFolder, 'groups/g.grp'))
    const member = await group.join('')
    expect(member.claim(5)).toBe(5)
    await failure('BUSY', () => group.reset(1, false))
    await failure('OUT_OF_RANGE', () => group.reset(7, true))
    await group.reset(2, true)
    expect(member.settleClaimed(0, 5)).toBe(0)
    expect(member.claim(5)).toBe(4)
    await group.configure({ ...defaultRules, maxDeliveries: 9 }, '{}')
    expect(group.describe()).toMatchObject({ maxDeliveries: 9, settings: '{}' })
    await failure('INVALID_ARGUMENT', () => group.configure({ ...defaultRules, leaseMs: 1 }, '{}'))
    await failure('BUSY', () => removeGroup(at.topicFolder, 'g', false))
    await removeGroup(at.topicFolder, 'g', true)
    await failure('NOT_FOUND', () => removeGroup(at.topicFolder, 'g', true))
    await expect.poll(() => failureCode(() => member.claim(1))).toBe('NOT_FOUND')
    await failure('NOT_FOUND', () => openGroup('t', at.topicFolder, at.log, 'g'))
    member.close()
    group.close()
    await at.close()
  })

  test('says that a member whose loop hangs is late, and takes its work away', async () => {
    const at = await place()
    at.publish(3)
    const group = await at.group()
    const program = Program.start('hung-member.mjs', { place: at.path, leaseMs: 300 })
    expect(await program.report('claimed')).toMatchObject({ count: 3 })
    const member = await group.join('')
    // Its loop turns: it keeps its work for longer than its lease.
    const until = performance.now() + 1000
    while (performance.now() < until) {
      await member.wait(100)
      expect(member.claim(3)).toBe(0)
    }
    program.tell('hang')
    await program.report('hanging')
    while (member.claim(3) === 0) await member.wait(1000)
    expect(member.deliveriesOf(0)).toBe(2)
    expect(member.settleClaimed(0, 3)).toBe(3)
    expect(await program.report('settled')).toMatchObject({ count: 0 })
    await program.finish()
    member.close()
    group.close()
    await at.close()
  })
})

function failureCode(call: () => unknown): string | undefined {
  try {
    call()
  } catch (error) {
    return (error as { code?: string }).code
  }
  return undefined
}
