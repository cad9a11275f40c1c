/** How far a mirror is. */
export interface MirrorStatus {
  /** The topic's next message to go into the mirror. */
  readonly sequence: number
  /** Messages that are in the topic and not in the mirror. */
  readonly lag: number
  /** Messages that went into the mirror since it was opened here, and their bytes, with 32 for each. */
  readonly messages: number
  readonly bytes: number
  /** Messages per second, in the last seconds. */
  readonly rate: number
  /** How often another bridge of the same mirror was faster. */
  readonly outrun: number
}
