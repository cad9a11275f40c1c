/** What a look at every frame of one segment found. */
export interface SegmentReport {
  readonly segment: number
  /** 0: the segment is prepared and not in use. */
  readonly firstSequence: number
  /** Expected of the next segment. */
  readonly nextSequence: number
  readonly messages: number
  /** Sequences that hold no message. */
  readonly voids: number
  /** Bytes in frames. */
  readonly bytes: number
  /** Nothing more is written to it. */
  readonly sealed: boolean
  readonly damage: readonly Damage[]
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
