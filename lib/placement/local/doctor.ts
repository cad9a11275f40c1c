import { existsSync } from 'node:fs'
import { access, constants, readdir, readFile, readlink, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import type { Finding } from '../../model/reports.js'
import { native } from '../../native/addon.js'
import { readControl } from '../../store/control-file.js'
import { type Directory, diskRoom, isShort, topicFolder } from '../../store/directory.js'
import { openLog } from '../../store/native-log.js'
import { codecRemedy, readTopicFile } from '../../store/topic-file.js'
import { checkBrokerFiles } from './broker-file-check.js'
import { checkFiles } from './file-check.js'
import type { Say } from './findings.js'
import { damagedGroups } from './group-files.js'
import { limits } from './limits.js'
import { checkMetrics } from './metrics-check.js'

const MiB = 1 << 20
/** Rounded down; on a small disk a low-water mark of nothing would say nothing. */
const inMiB = (bytes: number) =>
  `${bytes < 10 * MiB ? Math.floor((bytes / MiB) * 10) / 10 : Math.floor(bytes / MiB)} MiB`
/** Magic numbers of statfs: file systems on which a mapping is not shared, or locks may not be the kernel's. */
const doubtful: Readonly<Record<number, string>> = {
  26985: 'NFS',
  4283649346: 'CIFS',
  4266872130: 'SMB2',
  20859: 'SMB',
  1702057286: 'FUSE',
  16914836: 'tmpfs',
}

/** What the topics and the machine under them look like, and what to do about it. */
export async function examine(directory: Directory, topics: readonly string[]): Promise<readonly Finding[]> {
  const findings: Finding[] = []
  const say: Say = (severity, check, message, { advice, topic, details = {} } = {}) => {
    findings.push({
      severity,
      check,
      message,
      details,
      ...(topic === undefined ? {} : { topic }),
      ...(advice === undefined ? {} : { advice }),
    })
  }
  await room(directory.path, say)
  await rights(directory.path, say)
  await sharedMemory(directory.path, say)
  await limits(say)
  features(say)
  const mapped = await whoMaps(join(directory.path, 'topics'))
  for (const topic of topics) await examineTopic(directory, topic, mapped.get(topic) ?? [], say)
  await lostDescriptions(directory, topics, say)
  await checkBrokerFiles(directory, topics, say)
  await checkMetrics(directory, say)
  return findings
}

async function room(path: string, say: Say): Promise<void> {
  const { type } = await statfs(path)
  // As publishers have it, unless their lowWaterBytes says otherwise.
  const now = await diskRoom(path)
  const { freeBytes: free, totalBytes: total, lowWaterBytes: lowWater } = now
  const details = { freeBytes: free, totalBytes: total, lowWaterBytes: lowWater }
  const text = `${inMiB(free)} of ${inMiB(total)} are free, the low-water mark is at ${inMiB(lowWater)}`
  if (isShort(now, false)) {
    say('problem', 'disk-room', `${text}: publishers are refused (DISK_FULL).`, {
      advice: 'Make room, set retention, or move the directory.',
      details,
    })
  } else if (free <= lowWater * 4) {
    say('warning', 'disk-room', `${text}.`, {
      advice: 'Make room before publishers are refused; retention limits what a topic keeps.',
      details,
    })
  } else say('ok', 'disk-room', `${text}.`, { details })

  const name = doubtful[type]
  if (name === 'tmpfs')
    say('info', 'file-system', 'The topics are in memory (tmpfs): nothing survives a reboot, whatever the durability.')
  else if (name !== undefined) {
    say(
      'problem',
      'file-system',
      `The topics are on ${name}, where mappings and locks of several machines don't agree.`,
      {
        advice: 'Move the directory to a local file system: ext4 or xfs.',
      },
    )
  } else
    say('ok', 'file-system', `The file system is a local one (type 0x${type.toString(16)}).`, { details: { type } })
}

async function rights(path: string, say: Say): Promise<void> {
  const writable = await access(path, constants.W_OK).then(
    () => true,
    () => false,
  )
  if (writable) say('ok', 'rights', 'This user may publish here.')
  else
    say('info', 'rights', 'This user may read, but not publish, and not wake up others.', {
      advice: 'Run as the owner to publish.',
    })
}

async function sharedMemory(path: string, say: Say): Promise<void> {
  const found = await statfs('/dev/shm').catch(() => undefined)
  if (found === undefined) {
    say('warning', 'shared-memory', 'There is no /dev/shm: shm: places do not work.', {
      advice: 'Mount a tmpfs there.',
    })
    return
  }
  const total = found.blocks * found.bsize
  const needed = 2 * native.constants.defaultSegmentBytes
  const text = `/dev/shm has ${Math.floor(total / MiB)} MiB`
  const details = { totalBytes: total }
  if (total >= needed) say('ok', 'shared-memory', `${text}.`, { details })
  else {
    say(
      path.startsWith('/dev/shm/') ? 'warning' : 'info',
      'shared-memory',
      `${text}, too little for two segments of the default size.`,
      {
        advice: 'Set a smaller segmentBytes, or enlarge it (Docker: --shm-size 1g).',
        details,
      },
    )
  }
}

function features(say: Say): void {
  const { heavyBarriers, populate, crc32 } = native.kernelFeatures()
  const details = { heavyBarriers, populate, crc32 }
  const missing = [
    ...(heavyBarriers ? [] : ['membarrier (Linux 4.14), so every publish pays for a fence while a subscriber sleeps']),
    ...(populate ? [] : ['MADV_POPULATE (Linux 5.14), so pages fault one by one under the writer']),
    ...(crc32 === 'portable' ? ['an instruction for CRC-32, so checking is several times slower'] : []),
  ]
  if (missing.length === 0)
    say('ok', 'kernel', `The kernel has all that Hermes can use; CRC-32 by ${crc32}.`, { details })
  else
    say('info', 'kernel', `Missing here: ${missing.join('; ')}. Everything works without.`, {
      advice: 'A newer kernel or processor is faster.',
      details,
    })
}

/** Names, sizes and headers. True if the topic can't be looked at any further. */
async function examineFiles(folder: string, topic: string, segmentBytes: number, say: Say): Promise<boolean> {
  const { faults, segments, active } = await checkFiles(folder, segmentBytes)
  if (faults.length === 0) {
    if (active > 0)
      say(
        'ok',
        'files',
        `Names, sizes and headers of ${segments.length} segment${segments.length === 1 ? '' : 's'} are as they should be.`,
        { topic },
      )
    return false
  }
  const some = faults.slice(0, 8)
  const more = faults.length - some.length
  say('problem', 'files', `${some.map(({ message }) => message).join(' ')}${more > 0 ? ` And ${more} more.` : ''}`, {
    topic,
    advice: repairAdvice(topic),
    details: { faults: some.map(({ file, kind }) => ({ file, kind })), count: faults.length },
  })
  return true
}

/** What lies there without a description is in no list of topics. */
async function lostDescriptions(directory: Directory, topics: readonly string[], say: Say): Promise<void> {
  const parent = join(directory.path, 'topics')
  const entries = await readdir(parent, { withFileTypes: true }).catch(() => [])
  for (const entry of entries) {
    const { name } = entry
    if (topics.includes(name)) continue
    if (!entry.isDirectory()) {
      say('warning', 'topic', `${join(parent, name)} is not a folder, so it is no topic.`, {
        advice: 'Move it away; if a topic of this name was there, restore it from a backup.',
      })
      continue
    }
    const files = await readdir(join(parent, name)).catch(() => [])
    if (!files.some((file) => file.endsWith('.seg'))) continue
    say('problem', 'topic', 'The file topic.json is lost, and with it the codec of the messages that are there.', {
      topic: name,
      advice: codecRemedy(name),
    })
  }
}

const repairAdvice = (topic: string) =>
  `Close its publishers and subscribers, then run \`hermes repair ${topic}\`: it keeps what is damaged in quarantine/ and goes on with the rest. Or restore a backup.`

async function examineTopic(directory: Directory, topic: string, mappedBy: readonly Holder[], say: Say): Promise<void> {
  const folder = topicFolder(directory, topic)
  try {
    const file = await readTopicFile(directory, topic)
    if (file !== undefined && (await examineFiles(folder, topic, file.segmentBytes, say))) return
    for (const { name, path, reason } of await damagedGroups(folder)) {
      say('problem', 'groups', `${reason.charAt(0).toUpperCase()}${reason.slice(1)}: no member can join it.`, {
        topic,
        advice: `\`hermes repair ${topic}\` sets the file aside; the next member that joins makes it anew. \`hermes groups reset ${topic} ${name} <where>\` then has it go on where it was.`,
        details: { group: name, path },
      })
    }
    const log = await openLog(folder, topic, null)
    try {
      if (!existsSync(join(folder, 'locks'))) {
        const holders = mappedBy.filter(({ pid }) => pid !== process.pid)
        const named = holders.map(({ pid }) => `pid ${pid}`).join(', ')
        say(
          holders.length === 0 ? 'warning' : 'problem',
          'locks',
          `The file 'locks' was removed. ${holders.length === 0 ? 'No process seems to have the topic open' : `Those who have the topic open go on (${named}), but no other process can open it`}.`,
          {
            topic,
            advice:
              'Close all its publishers and subscribers. The next process that opens it, or `hermes repair`, makes the file again.',
            details: { holders },
          },
        )
        return
      }
      const { slots, locks } = log.participants()
      const alive = slots.filter((slot) => slot.alive)
      const dead = slots.filter((slot) => !slot.alive)
      const publishers = alive.map(({ pid, takenMs }) => ({ pid, since: new Date(takenMs).toISOString() }))
      const others = mappedBy.filter(({ pid }) => pid !== process.pid && !alive.some((slot) => slot.pid === pid))
      const details = { publishers, others, locks }
      const named = (list: readonly { pid: number }[]) =>
        list.length === 0 ? '' : ` (${list.map(({ pid }) => `pid ${pid}`).join(', ')})`
      say(
        'ok',
        'participants',
        `Publishers: ${alive.length}${named(alive)}. Other processes that have it mapped: ${others.length}${named(others)}.`,
        { topic, details },
      )
      if (dead.length > 0) {
        say(
          'info',
          'dead-publishers',
          `${dead.length} publishers died without closing${named(dead)}; their slots are given out again when needed.`,
          {
            topic,
            advice: 'Nothing has to be done. `hermes repair` tidies up when no publisher is open.',
            details: { pids: dead.map(({ pid }) => pid) },
          },
        )
      }
      if (locks.recovery) {
        say('info', 'recovery-lock', 'A process is opening, recovering or repairing the topic.', {
          topic,
          advice: 'If this lasts for minutes, look at what the publisher that holds it does.',
        })
      }
      const info = log.info()
      if (info.diskAlarm && isShort(await diskRoom(directory.path), true)) {
        say('problem', 'disk-alarm', 'Publishing is refused for want of disk room.', {
          topic,
          advice: 'Make room: it goes on by itself.',
        })
      }
      if (info.syncFailure !== 0) {
        say(
          'problem',
          'sync-failed',
          `A sync to disk failed (${getSystemErrorName(-info.syncFailure)}): what was written since sequence ${info.syncedSequence} may be lost if the power fails, and nothing more can be synced.`,
          {
            topic,
            advice:
              'See to the disk (room, quota, health). Then close all publishers of the topic, in every process: the next one to open it, or `hermes repair`, checks it and writes it to disk anew.',
            details: { errno: info.syncFailure, syncedSequence: info.syncedSequence },
          },
        )
      }
      const control = await readControl(folder)
      const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim().replaceAll('-', '')
      if (alive.length === 0 && info.activeSegment !== 0 && (!control.closedInOrder || control.bootId !== boot)) {
        const why =
          control.bootId === boot
            ? 'The last publisher did not close in order'
            : 'The machine was restarted since the topic was last published to'
        say(
          control.bootId === boot ? 'info' : 'ok',
          'recovery',
          `${why}: the next publisher checks what was written since.`,
          { topic },
        )
      }
    } finally {
      log.close()
    }
  } catch (error) {
    const { message, code } = error as Error & { code?: string }
    const described = await readTopicFile(directory, topic).catch(() => undefined)
    const advice =
      code === 'ACCESS_DENIED'
        ? 'Run as the owner of the files.'
        : described === undefined
          ? codecRemedy(topic)
          : repairAdvice(topic)
    say(code === 'ACCESS_DENIED' ? 'warning' : 'problem', 'topic', `The topic can't be looked at: ${message}`, {
      topic,
      advice,
      details: { code: code ?? 'FAILED' },
    })
  }
  const kept = await readdir(join(folder, 'quarantine')).catch(() => [])
  const files = kept.filter((name) => name.endsWith('.bin'))
  if (files.length > 0) {
    say('warning', 'quarantine', `${files.length} pieces of damaged data were set aside in quarantine/.`, {
      topic,
      advice: 'Look at the reports beside them (.json); delete both when you need them no more.',
      details: { files },
    })
  }
}

interface Holder {
  readonly pid: number
  readonly program: string
}

/** Which processes have files of which topic mapped, of those that this user may look at. */
async function whoMaps(topicsFolder: string): Promise<Map<string, Holder[]>> {
  const found = new Map<string, Holder[]>()
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  for (const pid of pids) {
    const maps = await readFile(`/proc/${pid}/maps`, 'utf8').catch(() => '')
    const topics = new Set<string>()
    for (let at = maps.indexOf(`${topicsFolder}/`); at >= 0; at = maps.indexOf(`${topicsFolder}/`, at + 1)) {
      topics.add(maps.slice(at + topicsFolder.length + 1).split(/[/\n]/, 1)[0] as string)
    }
    if (topics.size === 0) continue
    const program = await readlink(`/proc/${pid}/exe`).catch(() => '')
    for (const topic of topics) found.set(topic, [...(found.get(topic) ?? []), { pid: Number(pid), program }])
  }
  return found
}
