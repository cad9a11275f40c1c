/** What the addon exports. Types only: `native.ts` loads it, and native/binding/ is the other side. */
export interface NativeAddon {
  /** The Node-API version that the addon was built for. */
  readonly napiVersion: number
  readonly constants: NativeConstants
  /** zlib's CRC-32 of all of `bytes`, continued from `seed`. */
  crc32(bytes: Uint8Array, seed: number): number
  /** Opens the topic in `folder`; makes its control file first if `create` is given. */
  readonly openLog: new (folder: string, create: NativeSettings | null, options: { lowWaterBytes?: number }) => NativeLog
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
}

export interface NativeSettings {
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  readonly fileMode: number
}

export interface NativeLog {
  openAppender(exclusive: boolean): Promise<NativeAppender>
  openReader(verify: boolean): NativeReader
  info(): NativeLogInfo
  /** The sequence that the next message will get. */
  nextSequence(): number
  setRetention(bytes: number, ageMs: number): void
  close(): void
}

export interface NativeLogInfo {
  readonly segmentBytes: number
  readonly maxPayloadBytes: number
  readonly createdMs: number
  readonly firstSegment: number
  readonly activeSegment: number
  readonly firstSequence: number
  readonly nextSequence: number
  readonly syncedSequence: number
  readonly tailOffset: number
  readonly publishers: number
  readonly retentionBytes: number
  readonly retentionAgeMs: number
  readonly diskAlarm: boolean
  readonly writable: boolean
}

export interface NativeAppender {
  /** What recovery did while this publisher was opened. */
  readonly recovery: RecoveryReport
  attach(scratch: ArrayBuffer): { append: () => void; appendBatch: () => void }
  /** Throws what made the last append fail. */
  lastError(): void
  hasRoom(): boolean
  /** Resolves with the sequence before which everything is on stable storage: above the one asked for. */
  sync(sequence: number): Promise<number>
  close(): void
}

export interface NativePosition {
  readonly segment: number
  readonly offset: number
  readonly sequence: number
}

export interface NativeReader {
  scanFunction(scratch: ArrayBuffer): () => void
  region(): ArrayBuffer | null
  seek(target: 'earliest' | 'latest' | number | bigint): NativePosition | null
  nextSegment(): NativePosition | null
  skipDamage(): NativePosition | null
  repair(): boolean
  wait(timeoutMs: number): Promise<boolean>
  cancel(): void
  close(): void
}

/** What was done to make a topic fit for publishing, when a publisher opened it and no other one had it open. */
export interface RecoveryReport {
  /** False if the last publisher had closed in order, so that there was nothing to check. */
  readonly ran: boolean
  /** The machine was restarted since: only what had been synced could be taken for granted. */
  readonly rebooted: boolean
  /** Frames checked. */
  readonly frames: number
  /** Bytes checked. */
  readonly bytes: number
  /** Claims of dead publishers that became void frames. */
  readonly deadClaims: number
  /** What was set aside. Nothing is ever deleted. */
  readonly damage: readonly Damage[]
}

export interface Damage {
  readonly segment: number
  /** Bytes from the segment's beginning. */
  readonly offset: number
  readonly bytes: number
  readonly firstSequence: number
  /** Sequences that hold no message now; 0 for a torn tail, whose sequences are given out again. */
  readonly count: number
  readonly reason: string
  /** Where the bytes were copied to. */
  readonly file: string
}
