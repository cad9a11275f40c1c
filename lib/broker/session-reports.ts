import { type ErrorCode, HermesError } from '../base/errors.js'
import { errorToWire } from '../wire/messages.js'
import { packetType } from '../wire/packet.js'
import { jsonPacket } from '../wire/packet-writer.js'
import type { Channel } from './channel-table.js'
import type { SessionHost, SessionPort } from './session-port.js'

/** Ends of channels that the operator must see. */
const troubles: ReadonlySet<string> = new Set<ErrorCode>(['DISK_FULL', 'IO_FAILED', 'CORRUPT'])

/** What goes wrong in one client's session: a line in the broker's log, and the ERROR that the client is told. */
export class SessionReports {
  readonly #host: SessionHost
  readonly #port: SessionPort
  readonly #identity: () => string | undefined

  constructor(host: SessionHost, port: SessionPort, identity: () => string | undefined) {
    this.#host = host
    this.#port = port
    this.#identity = identity
  }

  /** The broker has ended a channel. */
  ended(channel: Channel, { code, message }: HermesError): void {
    const event = troubles.has(code) ? 'trouble' : 'ended'
    const { address } = this.#port
    this.#host.report(event, { address, identity: this.#identity(), topic: channel.topic.name, code, message })
  }

  closeFailed(error: unknown): void {
    this.#host.report('close-failed', { address: this.#port.address, error: String(error) })
  }

  /** Something could not be done for a channel. Returns what to send. */
  failed(channel: number, error: unknown): Buffer {
    const { address } = this.#port
    if (!(error instanceof HermesError)) {
      this.#host.report('failed', { address, error: String((error as Error)?.stack ?? error) })
    } else if (error.code === 'LIMIT') {
      this.#host.report('limited', { address, identity: this.#identity(), code: error.code, message: error.message })
    }
    return this.#packet(channel, error)
  }

  /** The connection is ended. Returns what to send before. */
  refused(error: unknown): Buffer {
    const known =
      error instanceof HermesError ? error : new HermesError('IO_FAILED', 'The broker failed; its log says why.')
    this.#host.report('refused', {
      address: this.#port.address,
      identity: this.#identity(),
      code: known.code,
      message: error instanceof HermesError ? error.message : String((error as Error)?.stack ?? error),
    })
    return this.#packet(0, known)
  }

  #packet(channel: number, error: unknown): Buffer {
    const shown = error instanceof HermesError ? this.#host.shown(error) : error
    return jsonPacket(packetType.error, channel, errorToWire(shown))
  }
}
