// A worker that makes one kind of call on the addon for ever, and is terminated in the middle of one: { kind, place, path, seed }.
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { native } from '../../../dist/native/addon.js'

const { kind, place, file, id } = workerData
const tag = new Uint8Array(16)
const settings = { segmentBytes: 1 << 20, maxPayloadBytes: 1024, fileMode: 0o600 }
const shape = (ringKind) => ({
  kind: ringKind,
  itemBytes: 8,
  capacity: 16,
  tag,
  startIndex: 0,
  participants: ringKind === 3 ? 8 : 0,
  parking: true,
  fileMode: 0o600,
})
const rules = { maxDeliveries: 5, leaseMs: 1000, backoffMs: 0, maxBackoffMs: 0, keyOffset: 0, keyBytes: 0 }
const turn = () => new Promise((resolve) => setImmediate(resolve))

/** A topic's folder of this worker's own, so that a terminated one leaves nothing that the next has to wait for. */
function folder(name) {
  const path = join(place, `${name}-${id}`)
  mkdirSync(path, { recursive: true })
  return path
}

/** A log of this worker's own. */
async function made(name) {
  const path = folder(name)
  await native.makeLog(path, settings)
  return new native.openLog(path, {})
}

function tolerate(call) {
  try {
    return call()
  } catch (error) {
    if (error?.code === undefined && !(error instanceof TypeError)) throw error
  }
}

/** One round of each kind. A round is short: the termination falls anywhere in it. */
const rounds = {
  async map() {
    const fd = openSync(file, 'r+')
    for (let i = 0; i < 50; i++) {
      const mapping = new native.FileMapping(fd, 65_536, 0, true, i % 2 === 0)
      const region = mapping.region()
      mapping.advise(0, 65_536, 1)
      mapping.incore(0, 65_536)
      mapping.sync(0, 4096, false, false)
      tolerate(() => mapping.region())
      if (i % 3 !== 0) mapping.unmap(region)
    }
    closeSync(fd)
  },
  async rings() {
    for (let i = 0; i < 20; i++) {
      const ring = new native.RingFile(join(place, `ring-${id}-${i % 4}`), shape(1))
      const other = new native.RingFile(join(place, `ring-${id}-${i % 4}`), null)
      ring.region()
      other.region()
      tolerate(() => ring.attach(0))
      tolerate(() => other.attach(1))
      tolerate(() => other.attach(0))
      ring.probe()
      ring.wake(true)
      ring.sleep(true, 1, 0.01)
      ring.close()
      other.close()
      tolerate(() => ring.region())
    }
  },
  async shared() {
    for (let i = 0; i < 20; i++) {
      const ring = new native.RingFile(join(place, `mpmc-${id}`), shape(3))
      ring.region()
      tolerate(() => ring.join())
      ring.probe()
      if (i % 2 === 0) ring.close()
    }
  },
  async park() {
    const rings = [0, 1, 2, 3].map((n) => new native.RingFile(join(place, `park-${id}-${n}`), shape(1)))
    const waits = rings.map((ring, n) => {
      ring.region()
      return ring.park(n % 2 === 0, 0, 3)
    })
    tolerate(() => rings[0].park(true, 0, 1))
    rings[1].cancel()
    rings[2].wake(true)
    await Promise.race(waits)
    for (const ring of rings) ring.close()
    await turn()
  },
  async topics() {
    const path = folder('topic')
    for (let i = 0; i < 10; i++) {
      if (i === 0) await native.makeLog(path, settings)
      const log = new native.openLog(path, { lowWaterBytes: 0, toMake: true })
      log.info()
      log.participants()
      log.nextSequence()
      await log.setRetention(1 << 30, 0, 0)
      native.kernelFeatures()
      tolerate(() => new native.openLog(join(place, 'absent'), {}))
      log.close()
      tolerate(() => log.info())
    }
    await turn()
  },
  async publish() {
    const log = await made('publish')
    const appender = await log.openAppender(false, id % 2 === 0 ? 1 : 0)
    const scratch = new ArrayBuffer(4096)
    const words = new Int32Array(scratch)
    const { append, appendBatch } = appender.attach(scratch)
    const ingest = appender.ingestFunction(new ArrayBuffer(64))
    for (let i = 0; i < 100; i++) {
      words[0] = 100
      append()
      appender.hasRoom()
      ingest(new Uint8Array(scratch))
      if (i % 10 === 0) {
        words[0] = 1
        words[1] = 7
        appendBatch()
        tolerate(() => appender.lastError())
        tolerate(() => appender.checkInterval())
      }
    }
    await appender.sync(1)
    await Promise.all([
      appender.sync(2),
      appender.closeSync(),
      tolerate(() => log.openAppender(true, 0))?.catch(() => {}),
    ])
    appender.close()
    log.close()
  },
  async subscribe() {
    const log = await made('subscribe')
    const appender = await log.openAppender(false, 0)
    const scratch = new ArrayBuffer(4096)
    new Int32Array(scratch)[0] = 100
    const { append } = appender.attach(scratch)
    append()
    for (let round = 0; round < 10; round++) {
      const reader = log.openReader(round % 2 === 0)
      const scan = reader.scanFunction(new ArrayBuffer(64))
      for (const target of ['earliest', 'latest', 1, 1n]) {
        tolerate(() => reader.seek(target))
        reader.region()
        scan()
        reader.repair()
        reader.nextSegment()
        reader.skipDamage()
      }
      const waiting = reader.wait(1)
      tolerate(() => reader.wait(1))
      if (round % 2 === 0) reader.cancel()
      if (round % 3 === 0) await waiting
      reader.close()
    }
    await turn()
    appender.close()
    log.close()
  },
  async group() {
    const log = await made('group')
    const appender = await log.openAppender(false, 0)
    const words = new ArrayBuffer(4096)
    new Int32Array(words)[0] = 100
    const { append } = appender.attach(words)
    for (let i = 0; i < 100; i++) append()
    mkdirSync(join(place, `group-${id}`, 'groups'), { recursive: true })
    for (const kind of [0, 1, 2, 3]) {
      const path = join(place, `group-${id}`, 'groups', `g${kind}.grp`)
      const plan = {
        ...rules,
        kind,
        window: kind === 3 ? 0 : 64,
        start: 1,
        upToSynced: false,
        settings: '{}',
        fileMode: 0o600,
      }
      const group = await log.openGroup(path, kind === 2 ? { ...plan, keyOffset: 0, keyBytes: 4 } : plan)
      const member = await group.join(`w${id}`, 1000)
      const other = await group.join('other', 1000)
      const scratch = new ArrayBuffer(131_072)
      const { claim, settle, peek } = member.attach(scratch)
      const view = new Int32Array(scratch)
      for (let i = 0; i < 20; i++) {
        if (kind === 3) {
          tolerate(() => member.activate())
          tolerate(() => member.commit(1 + i))
          member.committed()
        } else {
          view[0] = 8
          claim()
          // As the records of a claim are laid out, so are those of settling.
          view.copyWithin(6208 / 4, 64 / 4, 64 / 4 + 8 * 6)
          view[0] = view[1]
          settle()
          view[0] = 4
          peek()
          tolerate(() => member.lastError())
        }
        tolerate(() => member.enter(1))
        member.renew()
        member.isLate()
        tolerate(() => member.skip(1))
        group.describe()
      }
      const waits = [member.wait(2), other.wait(1)]
      tolerate(() => member.wait(1))
      if (kind % 2 === 0) member.cancel()
      await Promise.all([...waits, group.sync(), group.configure(rules, '{}').catch(() => {})])
      other.close()
      member.close()
      tolerate(() => member.slot())
      await group.reset(1, true)
      group.close()
      tolerate(() => group.describe())
      await native.removeGroup(path, true)
    }
    appender.close()
    log.close()
  },
  async maintain() {
    const log = await made('maintain')
    const appender = await log.openAppender(false, 0)
    const scratch = new ArrayBuffer(4096)
    new Int32Array(scratch)[0] = 100
    const { append } = appender.attach(scratch)
    for (let i = 0; i < 100; i++) append()
    const works = [1, 2, 3].map((n) => log.verifySegment(n).catch(() => {}))
    works.push(
      log
        .traceProducers([
          { slot: 1, since: 1 },
          { slot: 2, since: 1 },
        ])
        .catch(() => {}),
    )
    works.push(log.repair().catch(() => {}))
    await Promise.all(works)
    appender.close()
    await log.repair().catch(() => {})
    log.close()
  },
  async frames() {
    for (let i = 0; i < 100; i++) {
      const buffer = new ArrayBuffer(4096)
      const seal = native.frameSealer(buffer, new ArrayBuffer(64))
      const scan = native.frameScanner(buffer, new ArrayBuffer(64), 1024, true)
      seal()
      scan()
      native.crc32(new Uint8Array(buffer), 1)
      native.holdLock(file)?.release()
      tolerate(() => native.holdLock(join(place, 'absent')))
      tolerate(() => native.frameSealer(1, 2))
    }
    await turn()
  },
}

parentPort.postMessage('begun')
for (;;) await rounds[kind]()
