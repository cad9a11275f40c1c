/** `shared`: any member takes any message. `exclusive`: one is active. `keyed`: a key is with one at a time. `durable`: one position, committed. */
export type GroupKind = 'shared' | 'exclusive' | 'keyed' | 'durable'
/** By the number that the file has for them. */
export const groupKinds: readonly GroupKind[] = ['shared', 'exclusive', 'keyed', 'durable']

/** What every member goes by; may be changed, but for the key. */
export interface GroupRules {
  /** A message that was handed out more often is for the dead-letter topic: `deliveries` says so. 0 = without limit; 254 at most. */
  readonly maxDeliveries: number
  /** How long a member whose event loop does not turn keeps what it holds; 100 to 86,400,000. */
  readonly leaseMs: number
  /** Before the second delivery; twice as much before each further one, up to `maxBackoffMs`. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  /** Where the key of a keyed group is in the payload. `undefined`: the caller finds it (`nextUnkeyed`). */
  readonly key: { readonly offset: number; readonly bytes: number } | undefined
}

export const defaultRules: GroupRules = {
  maxDeliveries: 5,
  leaseMs: 30_000,
  backoffMs: 1000,
  maxBackoffMs: 60_000,
  key: undefined,
}

/** What a group and its members are doing. Counts of messages, unless said otherwise. */
export interface GroupReport extends GroupRules {
  readonly kind: GroupKind
  readonly window: number
  /** Only what no power cut can take back is handed out. */
  readonly upToSynced: boolean
  readonly createdMs: number
  /** Everything before this sequence is settled. */
  readonly floor: number
  /** The first sequence that was never handed out. */
  readonly next: number
  /** The sequence that the next message will get: `end - floor` is the lag. */
  readonly end: number
  readonly claimed: number
  readonly returned: number
  readonly delayed: number
  /** Totals since the group was made. `late`: acknowledgements that came too late; `lost`: retention was faster; `taken`: from members that died or hung. */
  readonly totals: {
    readonly settled: number
    readonly redelivered: number
    readonly late: number
    readonly rejected: number
    readonly lost: number
    readonly taken: number
    /** How often the log had lost what the group had come to. */
    readonly cut: number
  }
  /** The message at `floor`, which holds up a full window. `undefined`: nothing is in flight. */
  readonly oldest:
    | {
        readonly sequence: number
        readonly state: 'claimed' | 'returned' | 'delayed'
        readonly slot: number
        readonly deliveries: number
        readonly bucket: number
      }
    | undefined
  readonly settings: string
  readonly members: readonly GroupMemberReport[]
}

export interface GroupMemberReport {
  readonly slot: number
  readonly pid: number
  readonly name: string
  readonly since: Date
  /** The kernel says so. */
  readonly alive: boolean
  /** Its lease is over: its event loop hangs, or its process is stopped. */
  readonly late: boolean
  /** The active one of an exclusive group or durable subscription. */
  readonly active: boolean
  readonly inFlight: number
  /** The lowest sequence that it holds. */
  readonly oldest: number | undefined
  readonly claimedTotal: number
  readonly settledTotal: number
}
