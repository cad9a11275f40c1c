import type { HermesError } from '../base/errors.js'

/**
 * What a connection tells: `opened` once or never, then `received` again and again, and `closed` once, whatever ends it. Nothing is told within a call to
 * the connection, nor before the call that made it has returned.
 */
export interface ConnectionEvents {
  /** Bytes may be written. */
  opened(): void
  /** What has arrived. Valid until this returns. */
  received(bytes: Buffer): void
  /** @param reason what it was lost with, or was destroyed with; `undefined`: the other side has ended it without a word */
  closed(reason: Error | undefined): void
}

/** A stream of bytes to a broker and back, in order and without loss for as long as it lasts. */
export interface Connection {
  /**
   * Sends bytes, which must stay as they are until they are written.
   *
   * @returns false if more is waiting to be written than should be: the carrier keeps it all the same
   */
  write(bytes: Uint8Array): boolean
  /** What `write` was given and the network has not taken. */
  readonly unwrittenBytes: number
  /** Sends what was written, then ends. */
  end(): void
  /** Ends at once. `closed` is told the reason. */
  destroy(reason?: Error): void
}

/** What carries packets to one broker. A new one is a file beside this one, and a line in placement/remote/transports.ts. */
export interface Transport {
  /** Begins to connect. @throws HermesError `INVALID_ARGUMENT` for settings that can't be used, such as certificates */
  connect(events: ConnectionEvents): Connection
  /** What a lost connection means, and what to do. */
  explain(reason: Error): HermesError
}

/** The broker that is connected to. */
export interface Target {
  /** For messages. */
  readonly url: string
  readonly host: string
  readonly port: number
}

/** PEM texts; what is left out is as Node has it: the system's authorities, no certificate of our own. */
export interface ClientTls {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  /** The name that the broker's certificate has to have, if it is not the URL's host. */
  readonly servername?: string
}
