import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Say } from './findings.js'

const fewFiles = 4096
const fewMaps = 65_530
/** What a process takes besides its topics: Node's own files, and connections. */
const spareFiles = 100
/** For a topic that is published to, synced, and read by one subscriber of the same process. See docs/operations.md, Limits. */
const filesPerTopic = 5
const mapsPerTopic = 5
/** Node's threads and Hermes' own, of which there are 18 at most, and some room. */
const enoughTasks = 64
const unlimited = Number.MAX_SAFE_INTEGER

const numberOf = (text: string | undefined): number =>
  text === undefined || text === 'unlimited' || text === 'max' ? unlimited : Number(text)

/** What this process may have of open files, mappings and threads, and how many topics that is enough for. */
export async function limits(say: Say): Promise<void> {
  const text = await readFile('/proc/self/limits', 'utf8')
  files(text, say)
  await tasks(text, say)
  const maps = Number(await readFile('/proc/sys/vm/max_map_count', 'utf8').catch(() => String(fewMaps)))
  const details = { limit: maps, topics: Math.floor(maps / mapsPerTopic) }
  if (maps >= fewMaps) say('ok', 'mappings', `A process may have ${maps} mappings.`, { details })
  else {
    say(
      'warning',
      'mappings',
      `A process may have ${maps} mappings; a publisher takes three or four, a subscriber two.`,
      { advice: 'sysctl vm.max_map_count=262144', details },
    )
  }
}

function files(text: string, say: Say): void {
  const [, softText, hardText] = /^Max open files\s+(\d+|unlimited)\s+(\d+|unlimited)/m.exec(text) ?? []
  const soft = numberOf(softText)
  const topics = Math.max(0, Math.floor((soft - spareFiles) / filesPerTopic))
  const details = { soft, hard: numberOf(hardText), topics }
  const message = `This process may open ${softText ?? 'any number of'} files, enough for ${topics} topics in use: a publisher takes three or four, a subscriber one.`
  if (soft >= fewFiles) say('ok', 'open-files', message, { details })
  else {
    say('warning', 'open-files', message, {
      advice: `Raise it: ulimit -n ${fewFiles * 16}, or LimitNOFILE= in the systemd unit.`,
      details,
    })
  }
}

interface TaskLimit {
  readonly limit: number
  /** How many there are already of what is counted; unknown for a user's tasks. */
  readonly used: number
  readonly name: string
  readonly advice: string
}

/** The limit of this process's control group, or of one above it, that leaves the least room. */
async function controlGroupLimit(): Promise<TaskLimit | undefined> {
  const groups = await readFile('/proc/self/cgroup', 'utf8').catch(() => '')
  let tightest: TaskLimit | undefined
  for (const line of groups.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (path === undefined || (controllers !== '' && !controllers?.split(',').includes('pids'))) continue
    const root = controllers === '' ? '/sys/fs/cgroup' : '/sys/fs/cgroup/pids'
    // In a container the path may be one of the host's: its own group is then the root.
    for (let at = path; ; at = join(at, '..')) {
      const limit = numberOf((await readFile(join(root, at, 'pids.max'), 'utf8').catch(() => 'max')).trim())
      if (limit !== unlimited) {
        const used = Number(await readFile(join(root, at, 'pids.current'), 'utf8').catch(() => '0'))
        if (tightest === undefined || limit - used < tightest.limit - tightest.used) {
          const advice = 'Raise TasksMax= of the systemd unit, or the container’s pids limit (--pids-limit).'
          tightest = { limit, used, name: 'pids.max of the control group', advice }
        }
      }
      if (at === '/' || at === '') break
    }
  }
  return tightest
}

async function tasks(text: string, say: Say): Promise<void> {
  const all: TaskLimit[] = []
  const soft = numberOf(/^Max processes\s+(\d+|unlimited)/m.exec(text)?.[1])
  // Root is not bound by it.
  if (soft !== unlimited && process.geteuid?.() !== 0)
    all.push({
      limit: soft,
      used: 0,
      name: "tasks of this process's user",
      advice: 'Raise it: ulimit -u, or LimitNPROC=.',
    })
  const group = await controlGroupLimit()
  if (group !== undefined) all.push(group)
  const tightest = all.sort((a, b) => a.limit - a.used - (b.limit - b.used))[0]
  if (tightest === undefined) {
    say('ok', 'tasks', 'The number of threads is not limited for this process.', { details: {} })
    return
  }
  const { limit, used, name, advice } = tightest
  const details = { limit, used, name }
  const message = `${limit} threads and processes are allowed (${name})${used > 0 ? `, ${used} exist` : ''}; a process with Hermes takes about 30, whatever the number of topics.`
  if (limit - used >= enoughTasks) say('ok', 'tasks', message, { details })
  else say('warning', 'tasks', `${message} Without threads, publishing and waiting are slow.`, { advice, details })
}
