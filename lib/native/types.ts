import type { RecoveryReport, SegmentReport } from '../model/recovery.js'
import type { NativeGroup, NativeGroupPlan } from './group-types.js'
import type { NativeIntakeClass } from './intake-types.js'
import type { NativeMetrics, NativeMetricsCell } from './metrics-types.js'
import type { NativeReactorClass } from './reactor-types.js'
import type { ScratchLayouts } from './scratch.js'

/** What the addon exports. Types only: `addon.ts` loads it, and native/binding/ is the other side. */
export interface NativeAddon {
  /** The Node-API version that the addon was built for. */
  readonly napiVersion: number
  readonly constants: NativeConstants
  /** Places in the core where HERMES_CRASH can kill the process. Empty but in a build for tests. */
  readonly crashPoints: readonly string[]
  /** What the kernel and the processor offer here. */
  kernelFeatures(): { readonly heavyBarriers: boolean; readonly populate: boolean; readonly crc32: string }
  /** zlib's CRC-32 of all of `bytes`, continued from `seed`. */
  crc32(bytes: Uint8Array, seed: number): number
  /** Whether all who could read from a pipe or socket have closed it: Node tells of that only at the next write. */
  isReaderGone(fd: number): boolean
  /** Opens the topic in `folder`. Throws `NOT_FOUND` without a control file, and with `toMake` also without `locks`. */
  readonly openLog: new (
    folder: string,
    options: { lowWaterBytes?: number; toMake?: boolean },
  ) => NativeLog
  /** Makes the control file, and `locks` if that is lost. Soon `TIMED_OUT` or `BUSY` if others are in the way: to be tried again. */
  makeLog(folder: string, create: NativeSettings): Promise<void>
  /** Opens the ring at `path`, and makes it first if it isn't there. `null`: opens whatever ring is there, for the caller to check. */
  readonly RingFile: new (
    path: string,
    shape: NativeRingShape | null,
  ) => NativeRingFile
  /** Missing in addons that were built before there was one. */
  readonly Reactor?: NativeReactorClass
  readonly Intake?: NativeIntakeClass
  /** The metrics of a place: see docs/metrics-format.md. */
  readonly Metrics: new (
    root: string,
  ) => NativeMetrics
  /** Maps a stretch of an open file, for mmap.ts. */
  readonly FileMapping: new (
    fd: number,
    size: number,
    offset: number,
    storesReachTheFile: boolean,
    populate: boolean,
  ) => NativeFileMapping
  readonly mappingConstants: NativeMappingConstants
  /** Work on frames in a buffer, for the network: see native/binding/ingest_frames.h. The functions work through a `SealScratch` and a `FrameScanScratch`. */
  frameSealer(buffer: ArrayBuffer, scratch: ArrayBuffer): () => void
  frameScanner(buffer: ArrayBuffer, scratch: ArrayBuffer, maxPayload: number, verify: boolean): () => void
  /**
   * Gives a topic's folder another name beside it, and tells all processes that have the topic open (`TOPIC_DELETED`). Fails with `BUSY` while a process has, unless
   * forced; with `TIMED_OUT` while a process works on its files.
   */
  removeTopic(folder: string, aside: string, force: boolean): Promise<void>
  /** Tells them once more, in place of one who was killed. To be called before the files go. */
  finishRemoval(aside: string): Promise<void>
  /** Removes a group's file. Fails with `BUSY` while a process has it open, unless forced. */
  removeGroup(path: string, force: boolean): Promise<void>
  /** Locks byte 0 of an existing file until release, or the end of the process. `null` if another one holds it. */
  holdLock(path: string): { release(): void } | null
}

/** What a ring is to be: see docs/ring-layout.md. */
export interface NativeRingShape {
  readonly kind: number
  readonly itemBytes: number
  readonly capacity: number
  readonly tag: Uint8Array
  readonly startIndex: number
  readonly participants: number
  readonly parking: boolean
  readonly fileMode: number
}

/** A ring in a file: one participant at most. `room` tells which eventcount: that of room, or else that of items. */
export interface NativeRingFile {
  /** The mapping, detached by `close`. */
  region(): ArrayBuffer
  /** Becomes the producer (0) or the consumer (1). Throws `EXCLUSIVE_HELD`. */
  attach(role: number): void
  join(): { readonly entry: number; readonly unclean: boolean }
  /** Asks the kernel who lives, and marks the dead. Returns how many it found. */
  probe(): number
  wake(room: boolean): void
  sleep(room: boolean, seen: number, timeoutMs: number): void
  park(room: boolean, seen: number, timeoutMs: number): Promise<void>
  cancel(): void
  close(): void
}

/** Offsets and sizes are in bytes within the mapping. */
export interface NativeFileMapping {
  /** The memory. Once: the next call throws. */
  region(): ArrayBuffer
  advise(offset: number, bytes: number, advice: number): void
  sync(offset: number, bytes: number, blocking: boolean, invalidate: boolean): void
  incore(offset: number, bytes: number): [absent: number, present: number]
  unmap(region: ArrayBuffer): void
}

/** The values of this system's headers. */
export interface NativeMappingConstants {
  readonly PROT_NONE: number
  readonly PROT_READ: number
  readonly PROT_WRITE: number
  readonly PROT_EXEC: number
  readonly MAP_SHARED: number
  readonly MAP_PRIVATE: number
  readonly MAP_NONBLOCK: number
  readonly MAP_POPULATE: number
  readonly MADV_NORMAL: number
  readonly MADV_RANDOM: number
  readonly MADV_SEQUENTIAL: number
  readonly MADV_WILLNEED: number
  readonly MADV_DONTNEED: number
  readonly PAGESIZE: number
}

export interface NativeConstants {
  readonly frameMagic: number
  readonly frameVersion: number
  readonly frameHeaderBytes: number
  readonly frameAlign: number
  readonly frameTypeData: number
  readonly frameTypePadding: number
  readonly frameTypeVoid: number
  readonly maxClaimCount: number
  readonly claimTag: number
  readonly claimSpanBit: number
  readonly claimSpanBits: number
  readonly logVersion: number
  readonly segmentHeaderBytes: number
  readonly minSegmentBytes: number
  readonly maxSegmentBytes: number
  readonly defaultSegmentBytes: number
  readonly defaultMaxPayload: number
  readonly maxPublishers: number
  readonly stopLimit: number
  readonly stopEmpty: number
  readonly stopClaim: number
  readonly stopSegmentEnd: number
  readonly stopDamage: number
  readonly maxMembers: number
  /** Messages in one claim at most. */
  readonly maxClaim: number
  readonly groupBuckets: number
  readonly minGroupWindow: number
  readonly maxGroupWindow: number
  readonly defaultGroupWindow: number
  readonly claimLimit: number
  readonly claimEmpty: number
  readonly claimWindowFull: number
  readonly claimStandby: number
  readonly claimBusy: number
  readonly claimRoom: number
  readonly claimDamage: number
  readonly claimNoKey: number
  readonly outcomeDone: number
  readonly outcomeRejected: number
  readonly outcomeReturned: number
  readonly outcomeReleased: number
  /** Checked when the addon is loaded: see scratch.ts. */
  readonly scratch: ScratchLayouts
}

export interface NativeSettings {
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  readonly fileMode: number
}

export interface NativeLog {
  /** `syncIntervalMs` = 0: syncs only when asked. Soon `TIMED_OUT` if others recover or sync the topic: to be tried again. */
  openAppender(exclusive: boolean, syncIntervalMs?: number): Promise<NativeAppender>
  openReader(verify: boolean): NativeReader
  /** Opens the group at `path`; makes it if there is none and a plan is given. */
  openGroup(path: string, plan: NativeGroupPlan | null): Promise<NativeGroup>
  info(): NativeLogInfo
  /** A part of it, without a system call or a look at the log. */
  control(): NativeControl
  /** The sequence that the next message will get. */
  nextSequence(): number
  /** Everything before is known to be on stable storage. Cheap. */
  syncedSequence(): number
  /** Checks every frame of a segment, on a thread of its own. Changes nothing. */
  verifySegment(number: number): Promise<SegmentReport>
  /** What the log says of producer slots: see docs/wire-protocol.md. */
  traceProducers(slots: readonly { slot: number; since: number }[]): Promise<NativeProducerTrace[]>
  /** Recovers the whole topic, whatever is believed to be good. Fails with `EXCLUSIVE_HELD` while there are publishers, and soon with `TIMED_OUT` if one is being opened. */
  repair(): Promise<RecoveryReport>
  participants(): NativeParticipants
  /** Resolves when what it does not keep is removed. */
  setRetention(bytes: number, ageMs: number, waitBytes: number): Promise<void>
  /** Does a part of what `seek` there would do first. Resolves with false if more is left. */
  prepareSeek(target: number | bigint): Promise<boolean>
  close(): void
}

export interface NativeProducerTrace {
  readonly slot: number
  /** The highest number in the log; 0n = none. */
  readonly last: bigint
  readonly runs: readonly { readonly first: bigint; readonly count: number; readonly sequence: number }[]
}

export type NativeControl = Pick<NativeLogInfo, 'firstSegment' | 'activeSegment' | 'retentionBytes' | 'retentionAgeMs'>

export interface NativeLogInfo {
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  readonly createdMs: number
  readonly firstSegment: number
  readonly activeSegment: number
  readonly firstSequence: number
  readonly nextSequence: number
  readonly claimedSequence: number
  readonly syncedSequence: number
  readonly tailOffset: number
  readonly publishers: number
  readonly retentionBytes: number
  readonly retentionAgeMs: number
  /** For groups; 0 = they are not waited for. */
  readonly retentionWaitBytes: number
  readonly diskAlarm: boolean
  /** errno; 0 = none */
  readonly syncFailure: number
  readonly writable: boolean
}

export interface NativeAppender {
  /** What recovery did while this publisher was opened. */
  readonly recovery: RecoveryReport
  /** The functions work through an `AppendScratch`. */
  attach(scratch: ArrayBuffer): { append: () => void; appendBatch: () => void }
  /** Checks and appends a batch from a network, through an `IngestScratch`: see native/binding/ingest.cc. */
  ingestFunction(scratch: ArrayBuffer): (bytes: Uint8Array) => void
  /** From now on counts there. Before the first append; once. */
  countIn(cell: NativeMetricsCell): void
  /** Throws what made the last append fail. */
  lastError(): void
  hasRoom(): boolean
  /** Resolves with the sequence before which everything is on stable storage: above the one asked for. */
  sync(sequence: number): Promise<number>
  /** To be awaited before `close`: a sync, if this is the last publisher and a reboot would leave too much to be checked. */
  closeSync(): Promise<number> | undefined
  /** Throws what ended interval syncing. */
  checkInterval(): void
  /** False if others are in the way for a moment: better try again before `close`, which does not wait. */
  prepareToClose(): boolean
  close(): void
}

export interface NativePosition {
  readonly segment: number
  readonly offset: number
  readonly sequence: number
}

export interface NativeReader {
  /** The function works through a `ScanScratch`. */
  scanFunction(scratch: ArrayBuffer): () => void
  /** From now on counts there. Once. */
  countIn(cell: NativeMetricsCell): void
  region(): ArrayBuffer | null
  seek(target: 'earliest' | 'latest' | number | bigint): NativePosition | null
  nextSegment(): NativePosition | null
  skipDamage(): NativePosition | null
  repair(): boolean
  /** Throws `CORRUPT` once the control file was made anew. Looks at its name at most every 100 ms. */
  check(): void
  wait(timeoutMs: number): Promise<boolean>
  cancel(): void
  close(): void
}

/** Who holds what of a topic. */
export interface NativeParticipants {
  /** Publishers that took a slot and did not give it back: open ones, and dead ones whose claims are not resolved yet. */
  readonly slots: readonly {
    readonly slot: number
    readonly pid: number
    readonly alive: boolean
    readonly takenMs: number
  }[]
  /** Whether a process holds the lock of this purpose now. */
  readonly locks: {
    readonly recovery: boolean
    readonly publishers: boolean
    readonly prepare: boolean
    readonly sync: boolean
  }
}
