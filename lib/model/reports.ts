import type { Codec } from '../codec/codec.js'
import type { Damage, RecoveryReport } from './recovery.js'

/** Options of `hermes.verify()`. */
export interface VerifyOptions {
  /** Called after each segment. */
  readonly onProgress?: (progress: VerifyProgress) => void
  /** Ends the work with `ABORTED`. Segments that are being read are read to their end. */
  readonly signal?: AbortSignal
  /** Segments that are read at the same time, from 1 to 64. Default: the machine's cores, 4 at most. */
  readonly concurrency?: number
}

/** How far `verify()` is. */
export interface VerifyProgress {
  /** Segments read, of how many. */
  readonly segments: number
  readonly totalSegments: number
  /** Messages and bytes of frames that were checked. */
  readonly messages: number
  readonly bytes: number
}

/** What a look at every frame of a topic found. */
export interface VerifyReport {
  readonly topic: string
  /** Segments in use. */
  readonly segments: number
  readonly messages: number
  /** Sequences that hold no message: publishers died before they had committed, or recovery set damage aside. */
  readonly voids: number
  /** Bytes in frames that were checked. */
  readonly bytes: number
  /** The first message that is there, and what the next one will get. 1 and 1 if the topic is empty. */
  readonly firstSequence: number
  readonly nextSequence: number
  /**
   * Places where a dead publisher's unfinished message stands. Nothing acknowledged is lost there: a reader that waits for it makes it a void. What
   * follows one in its segment was not looked at.
   */
  readonly unfinished: number
  /** What is not as it should be, in order. Nothing was copied, so `file` is empty. Segment 0 stands for the control file, or the file of a group. */
  readonly damage: readonly Damage[]
  readonly seconds: number
}

/** Options of `hermes.repair()`. */
export interface RepairOptions {
  /** True: only say what would be set aside. Default false. */
  readonly dryRun?: boolean
  /** Needed only if `topic.json` is lost or damaged: the codec that the topic's messages were published with. */
  readonly codec?: Pick<Codec<never, unknown, unknown>, 'name' | 'fingerprint' | 'schema'>
  readonly signal?: AbortSignal
}

/** What `repair()` did, or would do. */
export interface RepairReport {
  readonly topic: string
  readonly dryRun: boolean
  /** What was set aside in `quarantine/`, or would be. */
  readonly damage: readonly Damage[]
  /** What the recovery did; absent with `dryRun`. */
  readonly recovery?: RecoveryReport
}

/** Options of `hermes.backup()`. */
export interface BackupOptions {
  /** Which topics. Default: all. */
  readonly topics?: readonly string[]
  /** Called several times per second while bytes are copied. */
  readonly onProgress?: (progress: BackupProgress) => void
  /** Ends the work with `ABORTED`. Nothing is left of the backup then. */
  readonly signal?: AbortSignal
}

/** How far `backup()` is. */
export interface BackupProgress {
  /** The topic that is being copied. */
  readonly topic: string
  /** Topics that are done, of how many. */
  readonly topics: number
  readonly totalTopics: number
  /** Of this topic's segments. A segment may be copied more than once. */
  readonly copiedBytes: number
  readonly totalBytes: number
}

/** What a backup holds of one topic: every message from `firstSequence` to the one in front of `nextSequence`. */
export interface TopicBackup {
  readonly topic: string
  readonly firstSequence: number
  readonly nextSequence: number
  readonly segments: number
  /** Groups and durable subscriptions: each is at most as far as it was, and never further than the messages. */
  readonly groups: number
  /** Messages that a dead or stopped publisher had begun and not finished: they are void in the backup. */
  readonly unfinished: number
  /** What was damaged in the place already. It is set aside in the backup, and as it was in the place. */
  readonly damage: readonly Damage[]
}

/** What `backup()` made. */
export interface BackupReport {
  /** Absolute path of the backup: a place like any other. */
  readonly to: string
  readonly topics: readonly TopicBackup[]
  readonly seconds: number
}

/** `ok`: as it should be. `info`: worth knowing. `warning`: will hurt under some circumstances. `problem`: hurts now. */
export type Severity = 'ok' | 'info' | 'warning' | 'problem'

/** One thing that `doctor()` looked at. */
export interface Finding {
  readonly severity: Severity
  /** A stable name of what was looked at: `disk-room`, `open-files`, … */
  readonly check: string
  /** Absent: it concerns the whole place or machine. */
  readonly topic?: string
  readonly message: string
  /** What to do; absent where there is nothing to do. */
  readonly advice?: string
  /** Facts for programs: plain JSON values. */
  readonly details: Readonly<Record<string, unknown>>
}

/** What `doctor()` found. */
export interface DoctorReport {
  readonly place: string
  /** The worst of all findings. */
  readonly severity: Severity
  readonly findings: readonly Finding[]
}

/** What a placement offers besides publishing and subscribing, if it has the files. */
export interface Maintenance {
  verify(topic: string, options: VerifyOptions): Promise<VerifyReport>
  repair(topic: string, options: RepairOptions): Promise<RepairReport>
  backup(topics: readonly string[], to: string, options: BackupOptions): Promise<BackupReport>
  doctor(topics: readonly string[]): Promise<readonly Finding[]>
}

/** From the best to the worst. */
export const severities: readonly Severity[] = ['ok', 'info', 'warning', 'problem']
