/** What stands in a dead-letter topic for each message: MessagePack. */
export interface DeadLetter {
  /** Where it came from. A letter that is there twice, since a member died between its two steps, has the same three. */
  readonly topic: string
  readonly group: string
  readonly sequence: number
  /** Of the message; nanoseconds since 1970. */
  readonly timestampNs: bigint
  /** How often it was delivered. */
  readonly deliveries: number
  readonly reason: string
  /** The name of the topic's codec. */
  readonly codec: string
  /** The payload as it was published. `null`: retention had removed the message. */
  readonly payload: Uint8Array | null
}

/** A letter takes so many bytes more than its payload, at most: names have 255 bytes, and the reason is cut. */
export const letterBytes = 4096
/** Characters of the reason that are kept. */
export const mostReason = 1000
