import { Buffer } from '../base/buffer.js'
import { HermesError } from '../base/errors.js'
import { compressionFeature, Deflater } from './compression.js'
import { groupsFeature } from './group-packets.js'
import { integer, parseError, parseJson, parseWelcome, type Welcome } from './messages.js'
import { maxJsonBytes, packetType, preamble, protocolVersion } from './packet.js'
import { PacketReader } from './packet-reader.js'
import { jsonPacket, u64Packet } from './packet-writer.js'

/** What a session tells of the broker at the other end. Called from within `receive`. */
export interface SessionEvents {
  /** Bytes for the broker. They stay as they are until they are written. */
  send(bytes: Uint8Array): void
  /** How many of the bytes that were sent wait to be written. */
  unwrittenBytes(): number
  welcomed(welcome: Welcome): void
  /** The broker is going away, and waits so long for what it owes us. */
  draining(graceMs: number): void
  /** The broker ends the connection, and says why. */
  refused(error: HermesError): void
  /** A packet of a channel: its body is `bytes[start, end)`, valid until this returns. */
  packet(channel: number, type: number, bytes: Buffer, start: number, end: number): void
  /** The broker has ended a channel, or not opened it. `retry`: it is to be opened again. */
  channelRefused(channel: number, error: HermesError, retry: boolean): void
}

/** Nothing was heard for so many heartbeats: the broker is gone. */
const silentBeats = 2.5

/** With so much waiting to be written PINGs are not answered: who asks without end and takes no answer is not to fill our memory. */
const mostUnwrittenBytes = 16 * 1024 * 1024

/**
 * The client's side of one connection, without the connection: bytes in, events and bytes out. Its user has a carrier for the bytes and a
 * clock; times are milliseconds of any clock that only goes forward.
 */
export class ClientSession {
  /** Compresses what this side sends; `undefined` where that was not agreed on. */
  deflater: Deflater | undefined
  readonly #events: SessionEvents
  readonly #features: readonly string[]
  readonly #reader: PacketReader
  #welcome: Welcome | undefined
  #received = 0
  #sent = 0
  /** The last of the PINGs that have come together: one answer serves them all. */
  #ping: bigint | undefined

  constructor(events: SessionEvents, compression: boolean) {
    this.#events = events
    this.#features = compression ? [compressionFeature, groupsFeature] : [groupsFeature]
    this.#reader = new PacketReader('server', maxJsonBytes, (type, channel, bytes, start, end) =>
      this.#packet(type, channel, bytes, start, end),
    )
  }

  /** What the broker has said of itself; `undefined` before. */
  get welcome(): Welcome | undefined {
    return this.#welcome
  }

  /** Says who we are: the first bytes of a connection. */
  greet(client: string, token: string | undefined): void {
    const versions = [protocolVersion, protocolVersion]
    const hello = jsonPacket(packetType.hello, 0, { versions, features: this.#features, client, token })
    this.#events.send(Buffer.concat([preamble, hello]))
  }

  /** @throws HermesError `PROTOCOL`, `LIMIT`: end the connection with it */
  receive(bytes: Buffer, now: number): void {
    this.#received = now
    try {
      this.#reader.push(bytes)
      this.#answerPing()
    } catch (error) {
      this.#reader.stop()
      throw error
    }
  }

  send(packet: Uint8Array, now: number): void {
    this.#sent = now
    this.#events.send(packet)
  }

  /** Hands out no more packets, not even the rest of what is being read. */
  stop(): void {
    this.#reader.stop()
  }

  /** To be called a few times in each of the broker's heartbeats: keeps the connection alive. @throws HermesError `TIMED_OUT`: nothing was heard for too long */
  beat(now: number): void {
    const { heartbeatMs = Number.POSITIVE_INFINITY } = this.#welcome ?? {}
    if (now - this.#received > silentBeats * heartbeatMs)
      throw new HermesError('TIMED_OUT', 'The broker has said nothing for too long.')
    if (now - this.#sent >= heartbeatMs) this.send(u64Packet(packetType.ping, 0, 0n), now)
  }

  #packet(type: number, channel: number, bytes: Buffer, start: number, end: number): void {
    const isFirst = this.#welcome === undefined
    if (isFirst && (channel !== 0 || (type !== packetType.welcome && type !== packetType.error)))
      throw new HermesError('PROTOCOL', 'The first packet of a broker has to be WELCOME.')
    if (channel !== 0) {
      if (type === packetType.error) {
        const fields = parseJson(bytes, start, end)
        this.#events.channelRefused(channel, parseError(fields), fields['retry'] === true)
      } else {
        this.#events.packet(channel, type, bytes, start, end)
      }
      return
    }
    switch (type) {
      case packetType.welcome:
        if (!isFirst) throw new HermesError('PROTOCOL', 'The broker has sent WELCOME twice.')
        this.#welcomed(parseWelcome(parseJson(bytes, start, end), this.#features))
        return
      case packetType.ping:
        this.#ping = bytes.readBigUInt64LE(start)
        return
      case packetType.pong:
        return
      case packetType.error:
        this.#events.refused(parseError(parseJson(bytes, start, end)))
        return
      case packetType.drain:
        this.#events.draining(integer(parseJson(bytes, start, end), 'graceMs', 0, 3_600_000))
        return
      default:
        throw new HermesError('PROTOCOL', `A packet of type ${type} belongs to a channel.`)
    }
  }

  #answerPing(): void {
    const ping = this.#ping
    this.#ping = undefined
    if (ping !== undefined && this.#events.unwrittenBytes() < mostUnwrittenBytes)
      this.send(u64Packet(packetType.pong, 0, ping), this.#received)
  }

  #welcomed(welcome: Welcome): void {
    const compresses = welcome.features.includes(compressionFeature)
    this.#welcome = welcome
    this.#reader.maxBody = welcome.limits.maxPacketBytes
    this.#reader.compression = compresses
    this.deflater = compresses ? new Deflater() : undefined
    this.#events.welcomed(welcome)
  }
}
