/** Where the results of a reactor's calls lie in its scratch memory, in bytes: see native/binding/reactor_handle.h. */
export const reactorLayout = {
  outcome: 0,
  error: 4,
  key: 8,
  descriptor: 12,
  bytes: 16,
  waiting: 24,
  over: 32,
  size: 64,
} as const

/** What became of a call. */
export const outcome = { done: 0, later: 1, ended: 2, failed: 3 } as const

/** Bits of what an event says of a connection. */
export const readable = 1
export const writable = 2

/** A listening socket and its connections: see native/binding/reactor_handle.h. */
export interface NativeReactor {
  listen(address: string, port: number): void
  stop(): void
  pauseListening(): void
  /** Whether it listens again. */
  resumeListening(): boolean
  port(): number
  /** Looks up to so many times, without sleeping. Returns how many events there are: key and what, two words each. */
  look(looks: number): number
  accept(): void
  peer(key: number): string
  resume(key: number): void
  pause(key: number): void
  receive(key: number): void
  write(key: number, bytes: Uint8Array, hold: boolean): void
  /**
   * Sends a run from the reader's position on as one DELIVER, without looking at checksums. Returns whether there was one; the reader's scratch memory
   * tells of it as after a scan.
   *
   * @param reader a `NativeReader`
   */
  deliver(
    key: number,
    reader: object,
    channel: number,
    epoch: number,
    nextSequence: number,
    mostMessages: number,
    mostBytes: number,
    hold: boolean,
  ): boolean
  flush(key: number): void
  end(key: number): void
  remove(key: number): void
  close(): void
}

export interface NativeReactorClass {
  readonly layout: Readonly<Record<string, number>>
  new (scratch: ArrayBuffer, events: ArrayBuffer, buffer: ArrayBuffer, ready: () => void): NativeReactor
}
