/** Where an intake tells what it took, in bytes: see native/binding/intake_handle.h. */
export const intakeLayout = {
  count: 0,
  taken: 64,
  first: 0,
  acked: 8,
  sequence: 16,
  channel: 24,
  messages: 28,
  flags: 32,
  body: 36,
  takenBytes: 64,
  size: 64 + 16 * 64,
} as const

/** Takes one connection's PUBLISH packets: see native/binding/intake_handle.h. */
export interface NativeIntake {
  /** @param appender a `NativeAppender` */
  attach(channel: number, appender: object, slot: number, maxBatchBytes: number, stored: bigint): void
  detach(channel: number): void
  setStored(channel: number, stored: bigint): void
  /** Returns how many bytes were taken from `start` on. */
  take(bytes: Uint8Array, start: number): number
}

export interface NativeIntakeClass {
  readonly layout: Readonly<Record<string, number>>
  new (scratch: ArrayBuffer): NativeIntake
}
