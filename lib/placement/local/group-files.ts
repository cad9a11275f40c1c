import { mkdir, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { HermesError } from '../../base/errors.js'
import { crc32 } from '../../frame/crc32.js'
import type { Damage } from '../../model/recovery.js'
import { fromFs } from '../../store/directory.js'
import { makeFolderWithin, syncFolder } from '../../store/folder.js'
import { groupPath, groupsFolder, listGroups } from '../../store/group.js'
import { openRegular } from '../../store/regular-file.js'
import { copyFile, modeOf } from './copied-files.js'

/* The files of groups and durable subscriptions, for verify, repair, doctor and backup: docs/group-format.md. */

const magic = 0x315052474d524548n
const headBytes = 64
const fixedBytes = 36_864
const entryBytes = 16

/** A group whose file can't be used. */
export interface DamagedGroup {
  readonly name: string
  readonly path: string
  readonly reason: string
}

/** Looks at the head and the length of each group's file. The next process that opens the group repairs the rest of the file. */
export async function damagedGroups(folder: string): Promise<DamagedGroup[]> {
  const damaged: DamagedGroup[] = []
  for (const name of await listGroups(folder)) {
    const path = groupPath(folder, name)
    const reason = await faultOf(path)
    if (reason !== undefined) damaged.push({ name, path, reason: `the file of group '${name}' ${reason}` })
  }
  return damaged
}

async function faultOf(path: string): Promise<string | undefined> {
  const head = Buffer.alloc(headBytes)
  let size = 0
  try {
    const file = await openRegular(path)
    try {
      size = (await file.stat()).size
      await file.read(head, 0, headBytes, 0)
    } finally {
      await file.close()
    }
  } catch (error) {
    // Deleted meanwhile, or not readable.
    const { code } = error as { code?: string }
    if (code === 'ENOENT') return undefined
    if (error instanceof HermesError && error.code === 'NOT_HERMES') return 'is not a file'
    throw fromFs(error, `read ${path}`)
  }
  if (size < headBytes) return `has ${size} bytes only`
  if (head.readBigUInt64LE(0) !== magic) return 'does not begin like one'
  // One of a newer version is not damaged.
  if (head.readUInt32LE(8) !== 1) return undefined
  if (crc32(head.subarray(0, 60)) !== head.readUInt32LE(60)) return 'has a damaged header'
  const wanted = Math.ceil((fixedBytes + entryBytes * head.readUInt32LE(12)) / 4096) * 4096
  return size === wanted ? undefined : `has ${size} bytes, not ${wanted}`
}

/** As `verify()` tells it. */
export async function groupDamage(folder: string): Promise<Damage[]> {
  const damaged = await damagedGroups(folder)
  return Promise.all(damaged.map(async ({ path, reason }) => damageOf(reason, await sizeOf(path), '')))
}

/** Moves damaged files to `quarantine/`: the next member that joins creates the group again. */
export async function setGroupsAside(folder: string, fileMode: number): Promise<Damage[]> {
  const damage: Damage[] = []
  for (const { name, path, reason } of await damagedGroups(folder)) {
    const quarantine = join(folder, 'quarantine')
    await makeFolderWithin(quarantine, fileMode)
    const kept = join(quarantine, `group-${name}-${Date.now()}.bin`)
    const bytes = await sizeOf(path)
    await rename(path, kept)
    await syncFolder(quarantine)
    await syncFolder(groupsFolder(folder))
    damage.push(damageOf(reason, bytes, kept))
  }
  return damage
}

function damageOf(reason: string, bytes: number, file: string): Damage {
  return { segment: 0, offset: 0, bytes, firstSequence: 0, count: 0, reason, file }
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    ({ size }) => size,
    () => 0,
  )
}

/**
 * Copies the files of groups into the copy of a topic. To be called before its messages are copied: so no group is ahead of them. Members may go on meanwhile: a file whose pages are of different times is what
 * opening a copied group expects; what was settled in the meantime comes again.
 *
 * @returns how many
 */
export async function copyGroups(from: string, to: string): Promise<number> {
  const names = await listGroups(from)
  if (names.length === 0) return 0
  await mkdir(groupsFolder(to), { mode: await modeOf(groupsFolder(from)) })
  let copied = 0
  for (const name of names) {
    try {
      await copyFile(groupPath(from, name), groupPath(to, name))
      copied++
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return copied
}
