import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { invalid, show } from '../base/options.js'
import { Random } from './random.js'

const pageBytes = 4096
const sectorBytes = 512
const bootIdAt = 896
/** Which file the control file is: device, inode, time of its making, mount, and a check. See docs/log-format.md. */
const identityAt = 920
const recordSalt = 0x48524d5350415245n

/** A file as it was at one moment. */
type Content = Buffer

interface Tracked {
  /** What a power cut can't take any more; `undefined`: perhaps not even the file's name. */
  durable: Content | undefined
  /** What it held when it got its name, if that is known. */
  created: Content | undefined
  /** What it held at each look since then, oldest first; `undefined`: it was not there. */
  since: (Content | undefined)[]
}

/** What a power cut did to an image. */
export interface PowerCut {
  readonly pagesKept: number
  readonly pagesLost: number
  readonly pagesTorn: number
  readonly filesMissing: number
}

/**
 * Records what a folder holds, and what of it is on stable storage; then builds what a power cut could leave. Between two syncs a disk may have
 * written any page or none, in any order: each page of 4 KiB becomes one of the versions that were seen since the last sync, or a mix of two by
 * sectors of 512 bytes; a file that was made since may be missing, one that was removed may be back.
 *
 * It sees what it is shown: call `observe` often. Nothing may be written while it looks: call it from the process that writes, between two
 * publishes. Holds the whole folder in memory several times: use small segments.
 */
export class PowerLossSimulator {
  readonly #folder: string
  readonly #files = new Map<string, Tracked>()
  #looks = 0

  /** @param folder of a place, as given to `open()` */
  constructor(folder: string) {
    if (typeof folder !== 'string' || folder === '')
      throw invalid(`'folder' must be the path of a place, not ${show(folder)}.`)
    this.#folder = folder
  }

  /** Notes what the files hold now. It may or may not reach the disk. */
  observe(): void {
    this.#looks++
    const seen = new Set<string>()
    for (const name of listFiles(this.#folder)) {
      seen.add(name)
      const tracked = this.#files.get(name) ?? {
        durable: undefined,
        created: undefined,
        since: new Array<Content | undefined>(this.#looks - 1).fill(undefined),
      }
      this.#files.set(name, tracked)
      const content = readFileSync(join(this.#folder, name))
      if (tracked.durable === undefined && tracked.since.every((one) => one === undefined))
        tracked.created = createdByHermes(name, content)
      // Unchanged content is kept once.
      const before = tracked.since.at(-1) ?? tracked.durable
      tracked.since.push(before?.equals(content) ? before : content)
    }
    for (const [name, tracked] of this.#files) if (!seen.has(name)) tracked.since.push(undefined)
  }

  /**
   * Right after a sync: as `observe`, and what these files hold now is on stable storage, their names included. By default those that Hermes syncs: segments
   * in use, and the small files that it writes once. The control file is a cache that is never synced; only its first look is taken for durable.
   */
  synced(isSynced: (path: string, content: Uint8Array) => boolean = syncedByHermes): void {
    this.observe()
    for (const [name, tracked] of this.#files) {
      const content = tracked.since.at(-1)
      const first = tracked.durable === undefined && /(^|\/)control$/.test(name)
      if (content !== undefined && (first || isSynced(name, content))) {
        tracked.durable = content
        tracked.since = []
      } else if (content === undefined && tracked.durable === undefined) this.#files.delete(name)
    }
  }

  /**
   * Writes what a power cut now could leave to `target`, which is made. The boot id in control files is changed, so that a process that opens the image
   * sees that the machine was restarted.
   */
  image(target: string, seed: number): PowerCut {
    const random = new Random(seed)
    const count = { pagesKept: 0, pagesLost: 0, pagesTorn: 0, filesMissing: 0 }
    // Some cuts lose nearly all, some hardly anything: both ends are where mistakes hide.
    const newest = random.pick([0.02, 0.2, 0.5, 0.8, 0.98])
    const torn = random.pick([0, 0.02, 0.2])
    mkdirSync(target, { recursive: true })
    for (const [name, { durable, created, since }] of this.#files) {
      const there = [durable ?? created, ...since].filter((one) => one !== undefined)
      // A segment is only used once its name is on the disk: see `Segment::create`; a group's name is there when it is made.
      const named = durable !== undefined || (created !== undefined && (name.endsWith('.grp') || isInUse(since.at(-1))))
      const removed = since.length > 0 && since.at(-1) === undefined
      const mayBeMissing = !named || removed
      if (there.length === 0) continue
      if (mayBeMissing && random.chance(0.5)) {
        count.filesMissing++
        continue
      }
      // A file gets its name only when it was filled: what it held at its first look is there if the name is.
      const content = mix(there, random, newest, torn, count)
      if (/(^|\/)control$/.test(name) && content.length > bootIdAt + 16) {
        for (let at = 0; at < 16; at += 4) content.writeUInt32LE(random.next(), bootIdAt + at)
      }
      const path = join(target, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, content)
      if (/(^|\/)control$/.test(name)) becomeThatFile(path, content)
    }
    return count
  }
}

/** A disk after a power cut holds the same files as before. The image's ones are copies, and would be taken for such. */
function becomeThatFile(path: string, content: Buffer): void {
  if (content.length < identityAt + 40 || content.readBigUInt64LE(identityAt + 32) === 0n) return
  const { ino, birthtimeNs } = statSync(path, { bigint: true })
  content.writeBigUInt64LE(ino, identityAt + 8)
  content.writeBigUInt64LE(birthtimeNs, identityAt + 16)
  const words = [0, 8, 16, 24].map((at) => content.readBigUInt64LE(identityAt + at))
  content.writeBigUInt64LE(
    words.reduce((check, word) => check ^ word, recordSalt),
    identityAt + 32,
  )
  writeFileSync(path, content)
}

function mix(
  versions: readonly Content[],
  random: Random,
  newest: number,
  torn: number,
  count: { pagesKept: number; pagesLost: number; pagesTorn: number },
): Buffer {
  const last = versions.at(-1) as Content
  const result = Buffer.from(last)
  if (versions.every((one) => one === last)) return result
  for (let at = 0; at < last.length; at += pageBytes) {
    const end = Math.min(at + pageBytes, last.length)
    if (versions.every((one) => one === last || one.compare(last, at, end, at, end) === 0)) continue
    const choose = () => (random.chance(newest) ? last : random.pick(versions))
    if (random.chance(torn)) {
      count.pagesTorn++
      for (let sector = at; sector < end; sector += sectorBytes)
        choose().copy(result, sector, sector, Math.min(sector + sectorBytes, end))
      continue
    }
    const chosen = choose()
    if (chosen === last) count.pagesKept++
    else count.pagesLost++
    chosen.copy(result, at, at, end)
  }
  return result
}

/** Prepared segments, whose base sequence is still 0, are not synced by publishers. */
export function syncedByHermes(path: string, content: Uint8Array): boolean {
  if (path.endsWith('.json') || /(^|\/)locks$/.test(path)) return true
  return path.endsWith('.seg') && isInUse(content)
}

function isInUse(segment: Uint8Array | undefined): boolean {
  return segment?.subarray(64, 72).some((byte) => byte !== 0) === true
}

/** A segment is synced before it gets its name: with its header and nothing else. So is a group: as it was made, and opened by nobody. */
function createdByHermes(path: string, content: Buffer): Content | undefined {
  if (path.endsWith('.grp')) return newGroup(content)
  if (!path.endsWith('.seg')) return undefined
  const created = Buffer.alloc(content.length)
  content.copy(created, 0, 0, 64)
  return created
}

/** Whoever opens a group first notes boot and file, and takes a slot: docs/group-format.md. */
function newGroup(content: Buffer): Content {
  const created = Buffer.from(content)
  const cut = created.readBigUInt64LE(816)
  created.fill(0, 640, 816)
  created.writeBigUInt64LE(recordSalt ^ cut, 824)
  created.fill(0, 4096)
  return created
}

function listFiles(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => {
    // A temporary file may vanish while we look.
    return statSync(join(folder, name), { throwIfNoEntry: false })?.isFile() === true && !name.includes('.tmp')
  })
}
