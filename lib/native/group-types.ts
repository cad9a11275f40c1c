/** What the addon knows of consumer groups. Types only; docs/group-format.md specifies the file, native/binding/group_handle.h is the other side. */

/** What every member goes by. */
export interface NativeGroupRules {
  /** A message that was handed out more often is for the dead-letter topic; 0 = without limit. */
  readonly maxDeliveries: number
  readonly leaseMs: number
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** Where the key is in the payload, in bytes. `keyBytes` = 0: the caller tells the buckets. */
  readonly keyOffset: number
  readonly keyBytes: number
}

export interface NativeGroupPlan extends NativeGroupRules {
  /** 0 shared, 1 exclusive, 2 keyed, 3 durable */
  readonly kind: number
  /** A power of two; 0 for a durable subscription. */
  readonly window: number
  /** The first sequence to hand out. */
  readonly start: number
  /** Hand out only what is on stable storage. */
  readonly upToSynced: boolean
  readonly settings: string
  readonly fileMode: number
}

export interface NativeGroup {
  /** Opening it has made it. */
  readonly made: boolean
  /** No process had it open, and it was last used in another boot, or as another file. */
  readonly recovered: boolean
  /** Words that contradicted each other were set right. */
  readonly mended: boolean
  /** If not 0: the log had lost what the group had come to, from this sequence to `lostTo`. */
  readonly lostFrom: number
  readonly lostTo: number
  readonly kind: number
  readonly window: number
  /** `leaseMs` = 0: the group's. */
  join(name: string, leaseMs: number): Promise<NativeMember>
  describe(): NativeGroupReport
  reset(sequence: number, force: boolean): Promise<void>
  configure(rules: NativeGroupRules, settings: string): Promise<void>
  /** Everything that was settled before is on stable storage afterwards. */
  sync(): Promise<void>
  close(): void
}

export interface NativeMember {
  /** The functions work through `scratch`: see member-scratch.ts. Again with a larger one, they work through that. */
  attach(scratch: ArrayBuffer): { readonly claim: () => void; readonly settle: () => void; readonly peek: () => void }
  /** Throws what made the last claim fail. */
  lastError(): void
  /** Tells the buckets of the first `count` messages of the last peek, as they stand in the scratch memory. */
  enter(count: number): void
  slot(): number
  renew(): void
  isLate(): boolean
  skip(sequence: number): boolean
  activate(): void
  commit(sequence: number): void
  committed(): number
  /** Throws why the position is no longer this member's. */
  checkHeld(): void
  noteLost(count: number): void
  /** Resolves with true once there's something to claim, with false after the time or `cancel`. */
  wait(timeoutMs: number): Promise<boolean>
  cancel(): void
  close(): void
}

export interface NativeGroupReport extends NativeGroupRules {
  readonly kind: number
  readonly window: number
  readonly upToSynced: boolean
  readonly createdMs: number
  readonly floor: number
  readonly next: number
  readonly end: number
  readonly claimed: number
  readonly returned: number
  readonly delayed: number
  readonly settledTotal: number
  readonly redeliveredTotal: number
  readonly lateTotal: number
  readonly rejectedTotal: number
  readonly lostTotal: number
  readonly takenTotal: number
  readonly cutTotal: number
  /** Of the message at `floor`: 'claimed', 'returned', 'delayed' or ''. */
  readonly oldestState: string
  readonly oldestMember: number
  readonly oldestDeliveries: number
  readonly oldestBucket: number
  readonly settings: string
  readonly members: readonly NativeMemberReport[]
}

export interface NativeMemberReport {
  readonly slot: number
  readonly pid: number
  readonly name: string
  readonly takenMs: number
  readonly alive: boolean
  readonly late: boolean
  readonly active: boolean
  readonly inFlight: number
  /** The lowest sequence that it holds; 0 = none. */
  readonly oldest: number
  readonly claimedTotal: number
  readonly settledTotal: number
}
