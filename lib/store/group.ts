import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type GroupKind, type GroupReport, type GroupRules, groupKinds } from '../model/group.js'
import { native } from '../native/addon.js'
import { callNative, fromNative } from '../native/error.js'
import type { NativeGroup, NativeGroupRules } from '../native/group-types.js'
import { checkMemberScratch } from '../native/member-scratch.js'
import type { NativeLog } from '../native/types.js'
import { makeFolderWithin } from './folder.js'
import { type GroupDetails, GroupMember } from './group-member.js'
import { toGroupReport } from './group-report.js'
import { retried } from './native-log.js'
import { SyncQueue } from './sync-queue.js'

/** How a group is made. */
export interface GroupPlan extends GroupRules {
  readonly kind: GroupKind
  /** A power of two from 64 to 1,048,576; how far the newest message handed out may be ahead of the oldest one that is not settled. */
  readonly window: number
  /** The first sequence to hand out. */
  readonly start: number
  /** Hand out only what no power cut can take back: of use where publishers sync. */
  readonly upToSynced: boolean
  /** Kept for the processes that open the group; 3,064 bytes at most. */
  readonly settings: string
  readonly fileMode: number
}

const extension = '.grp'
/** Others that join, leave or recover are through in moments, unless one was stopped. */
const openTimeoutsMs = { TIMED_OUT: 10_000 }

/** Where the groups of a topic are. */
export function groupsFolder(topicFolder: string): string {
  return join(topicFolder, 'groups')
}

export function groupPath(topicFolder: string, name: string): string {
  return join(groupsFolder(topicFolder), `${name}${extension}`)
}

/** The names of a topic's groups, sorted. */
export async function listGroups(topicFolder: string): Promise<string[]> {
  let names: string[]
  try {
    names = await readdir(groupsFolder(topicFolder))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
  return names
    .filter((name) => name.endsWith(extension) && !name.includes('.tmp'))
    .map((name) => name.slice(0, -extension.length))
    .sort()
}

/** Removes a group. @throws HermesError `BUSY` while a process has it open, unless `force`: its members then get `NOT_FOUND`; `NOT_FOUND` */
export async function removeGroup(topicFolder: string, name: string, force: boolean): Promise<void> {
  try {
    await retried(openTimeoutsMs, () => native.removeGroup(groupPath(topicFolder, name), force))
  } catch (error) {
    throw fromNative(error, { group: name })
  }
}

/**
 * Opens a group of a topic; makes it if there is none and a plan is given. Close it when its members are closed.
 *
 * The process that opens it first repairs what a crash of the machine has left. `lost` says whether the log had lost what the group had come to: the
 * caller tells (`POSITION_LOST`), nothing was skipped.
 *
 * @throws HermesError `NOT_FOUND` without a plan, `POSITION_LOST` if the file is of an earlier topic of this name, `CORRUPT`, `VERSION_MISMATCH`, `TIMED_OUT` if another process
 *   keeps the group's lock for ten seconds: it was stopped
 */
export async function openGroup(
  topic: string,
  topicFolder: string,
  log: NativeLog,
  name: string,
  plan?: GroupPlan,
): Promise<Group> {
  checkMemberScratch(native.constants.scratch)
  try {
    if (plan !== undefined) await makeFolderWithin(groupsFolder(topicFolder), plan.fileMode)
    const wanted =
      plan === undefined
        ? null
        : {
            ...nativeRules(plan),
            kind: groupKinds.indexOf(plan.kind),
            window: plan.kind === 'durable' ? 0 : plan.window,
            start: plan.start,
            upToSynced: plan.upToSynced,
            settings: plan.settings,
            fileMode: plan.fileMode,
          }
    const opened = await retried(openTimeoutsMs, () => log.openGroup(groupPath(topicFolder, name), wanted))
    return new Group(topic, name, opened)
  } catch (error) {
    throw fromNative(error, { topic, group: name })
  }
}

function nativeRules({ key, maxDeliveries, leaseMs, backoffMs, maxBackoffMs }: GroupRules): NativeGroupRules {
  return {
    maxDeliveries,
    leaseMs,
    backoffMs,
    maxBackoffMs,
    keyOffset: key?.offset ?? 0,
    keyBytes: key?.bytes ?? 0,
  }
}

/** A consumer group of a topic, opened. Several processes may have it open; nothing stands between them but the file. */
export class Group {
  readonly topic: string
  readonly name: string
  readonly kind: GroupKind
  /** Opening it has made it. */
  readonly made: boolean
  /** It was last used in another boot, or is a copy: no member holds a message any more. */
  readonly recovered: boolean
  /** The sequences that the log had lost, and now gives out again: from, to (exclusive). */
  readonly lost: { readonly from: number; readonly to: number } | undefined
  readonly #native: NativeGroup
  readonly #syncs: SyncQueue
  #changes = 0

  constructor(topic: string, name: string, opened: NativeGroup) {
    this.topic = topic
    this.name = name
    this.#native = opened
    this.kind = groupKinds[opened.kind] as GroupKind
    this.made = opened.made
    this.recovered = opened.recovered
    this.lost = opened.lostFrom === 0 ? undefined : { from: opened.lostFrom, to: opened.lostTo }
    this.#syncs = new SyncQueue(topic, async (upto) => {
      await opened.sync()
      return upto + 1
    })
  }

  /**
   * Takes one of 256 slots. The member counts as working as long as this thread's event loop turns, or it claims.
   *
   * @param name    for people; 64 bytes of it are kept
   * @param leaseMs other than the group's
   * @throws HermesError `LIMIT` if all slots are taken, `TIMED_OUT`, `ACCESS_DENIED`, `CLOSED`
   */
  async join(name: string, leaseMs = 0): Promise<GroupMember> {
    try {
      return new GroupMember(this.details, await retried(openTimeoutsMs, () => this.#native.join(name, leaseMs)))
    } catch (error) {
      throw fromNative(error, this.details)
    }
  }

  /** What stands in the file now. Looks at every message in flight. */
  describe(): GroupReport {
    return toGroupReport(callNative(() => this.#native.describe(), this.details))
  }

  /**
   * Goes to a sequence: everything before is settled, everything from there on new.
   *
   * @throws HermesError `BUSY` while members live, unless `force`: what they hold is no longer theirs then; `OUT_OF_RANGE`
   */
  async reset(sequence: number, force: boolean): Promise<void> {
    await this.#call(() => this.#native.reset(sequence, force))
  }

  /** Replaces rules and settings. Members go by the new ones within a second. @throws HermesError `INVALID_ARGUMENT`, also if the key changes */
  async configure(rules: GroupRules, settings: string): Promise<void> {
    await this.#call(() => this.#native.configure(nativeRules(rules), settings))
  }

  /** Resolves once everything that was settled or committed before this call is on stable storage. One sync serves all who wait. */
  async sync(signal?: AbortSignal): Promise<void> {
    await this.#syncs.reached(++this.#changes, signal)
  }

  close(): void {
    this.#native.close()
  }

  get details(): GroupDetails {
    return { topic: this.topic, group: this.name }
  }

  async #call(work: () => Promise<void>): Promise<void> {
    try {
      await retried(openTimeoutsMs, work)
    } catch (error) {
      throw fromNative(error, this.details)
    }
  }
}
