import type { PacketReader } from '../wire/packet-reader.js'

const mebibyte = 1024 * 1024

/** How long a client may take for the rest of a packet. */
export interface PacketTimeouts {
  readonly handshakeTimeoutMs: number
  /** For each MiB of it. */
  readonly packetTimeoutMs: number
}

/** A packet of which a part has come: since when its client is to send the rest. */
export class UnfinishedPacket {
  readonly #reader: PacketReader
  readonly #timeouts: PacketTimeouts
  #sinceMs = 0

  constructor(reader: PacketReader, timeouts: PacketTimeouts) {
    this.#reader = reader
    this.#timeouts = timeouts
  }

  /** Gives the reader what has come. Returns how many bytes it took. */
  push(chunk: Buffer): number {
    const reader = this.#reader
    const began = reader.isUnfinished
    const taken = reader.push(chunk)
    // (behind the rest of one packet the next one may have begun)
    if (reader.isUnfinished && (!began || taken > reader.pendingBytes)) this.restart()
    return taken
  }

  restart(): void {
    this.#sinceMs = performance.now()
  }

  /** How long it might have taken, in milliseconds, if it has taken longer; else `undefined`. */
  lateMs(now: number): number | undefined {
    const { unfinishedBytes, isUnfinished } = this.#reader
    if (!isUnfinished) return undefined
    const { handshakeTimeoutMs, packetTimeoutMs } = this.#timeouts
    const most = Math.max(packetTimeoutMs * Math.ceil(Math.max(1, unfinishedBytes) / mebibyte), handshakeTimeoutMs)
    return now - this.#sinceMs > most ? most : undefined
  }
}
