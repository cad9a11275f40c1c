import { setTimeout as sleep } from 'node:timers/promises'
import { nanosecondsOf } from '../base/timestamp.js'
import type { From } from '../model/topic.js'
import { native } from '../native/addon.js'
import { fromNative } from '../native/error.js'
import type { NativeAppender, NativeLog, NativeSettings } from '../native/types.js'

/*
 * The addon waits for no other process: it would do so on the event loop, or on one of the four threads that all file access of the process shares, and a process
 * can't end while one of these waits. It is asked again from here.
 */

/** Another process that makes a topic's files does so in moments, unless it was stopped. */
const makeTimeoutMs = 5000
/** So long others are waited for that may just be making a lost `locks` again. */
const mendTimeoutMs = 1000
/** Another's recovery of a large topic takes a while. */
const recoveryTimeoutMs = 60_000
const repairTimeoutMs = 10_000
/** So long a deletion may have the topic to itself, before its name is free. */
const deletionTimeoutMs = 2000
/** If the orderly end can't be recorded in this time, the next process that opens the topic checks a little more. */
const closeLooks = 100

/** What was just made may be removed again. */
const mostTries = 5

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? ''

/** Asks again while `work` is refused for a moment: by a code in `timeoutsMs`, for so many milliseconds. */
export async function retried<T>(timeoutsMs: Readonly<Record<string, number>>, work: () => Promise<T>): Promise<T> {
  const begun = performance.now()
  for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 50)) {
    try {
      return await work()
    } catch (error) {
      if (performance.now() - begun >= (timeoutsMs[codeOf(error)] ?? 0)) throw error
    }
    await sleep(pauseMs)
  }
}

/**
 * Opens a topic's log, and makes its control file first if `create` is given and there is none.
 *
 * @throws HermesError `NOT_FOUND` without `create`; `TIMED_OUT` if another process makes it and does not end; `BUSY`, `CORRUPT`, `DISK_FULL`, …
 */
export async function openLog(
  folder: string,
  topic: string,
  create: NativeSettings | null,
  options: { readonly lowWaterBytes?: number } = {},
): Promise<NativeLog> {
  for (let tries = 1; ; tries++) {
    try {
      // One that is being deleted is gone in moments, and its name free.
      return await retried({ TOPIC_DELETED: deletionTimeoutMs }, async () => {
        return new native.openLog(folder, { ...options, toMake: create !== null })
      })
    } catch (error) {
      if (create === null || tries === mostTries || codeOf(error) !== 'NOT_FOUND') throw fromNative(error, { topic })
    }
    try {
      await retried({ TIMED_OUT: makeTimeoutMs, BUSY: mendTimeoutMs }, () => native.makeLog(folder, create))
    } catch (error) {
      throw fromNative(error, { topic })
    }
  }
}

/**
 * Opens a topic's log at once. `undefined` if it is not there, or is only just being made, mended or deleted: ask again.
 *
 * @throws HermesError `CORRUPT`, `ACCESS_DENIED`, …
 */
export function openLogNow(folder: string, topic: string): NativeLog | undefined {
  try {
    return new native.openLog(folder, { toMake: false })
  } catch (error) {
    if (['NOT_FOUND', 'TOPIC_DELETED', 'TIMED_OUT', 'BUSY'].includes(codeOf(error))) return undefined
    throw fromNative(error, { topic })
  }
}

/** Opens a publisher's native half. What it throws is the addon's. */
export function openAppender(log: NativeLog, exclusive: boolean, syncIntervalMs = 0): Promise<NativeAppender> {
  return retried({ TIMED_OUT: recoveryTimeoutMs }, () => log.openAppender(exclusive, syncIntervalMs))
}

/** Recovers the whole topic. What it throws is the addon's. */
export function repairLog(log: NativeLog): ReturnType<NativeLog['repair']> {
  return retried({ TIMED_OUT: repairTimeoutMs }, () => log.repair())
}

/** Closes a publisher's native half, with a sync before if that is the last one's task. It's closed also if that fails. */
export async function closeAppender(appender: NativeAppender): Promise<void> {
  try {
    await appender.closeSync()
  } finally {
    for (let look = 0; look < closeLooks && !appender.prepareToClose(); look++) await sleep(1)
    appender.close()
  }
}

/** Has done what a search for `target` needs, which may take seconds in a large log: a reader's `seek` there is quick then. */
export async function prepareSeek(log: NativeLog, target: From): Promise<void> {
  if (typeof target === 'string') return
  const where = target instanceof Date ? nanosecondsOf(target) : target
  while (!(await log.prepareSeek(where)));
}
