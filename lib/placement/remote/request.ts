import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { parseJson } from '../../wire/messages.js'
import { packetType, protocolError } from '../../wire/packet.js'
import { jsonPacket } from '../../wire/packet-writer.js'
import type { LinkUser } from './channels.js'
import type { Link } from './link.js'

/** A question to the broker. Asked again if the connection is lost before the answer, unless it is to be asked once. */
export class Request implements LinkUser {
  readonly answered = new Deferred<void>()
  readonly #link: Link
  readonly #content: Readonly<Record<string, unknown>>
  readonly #once: boolean
  reply: Readonly<Record<string, unknown>> = {}
  isAsked = false

  /** @param once what was asked may have been done, and is not to be done again */
  constructor(link: Link, content: Readonly<Record<string, unknown>>, once = false) {
    this.#link = link
    this.#content = content
    this.#once = once
  }

  get idle(): boolean {
    return false
  }

  connected(channel: number): void {
    this.isAsked = true
    this.#link.send(jsonPacket(packetType.request, channel, this.#content))
  }

  disconnected(): void {
    if (this.#once && this.isAsked) {
      this.#link.remove(this)
      this.failed(
        new HermesError(
          'CONNECTION_FAILED',
          'The connection was lost before the answer came: it may have been done, or not. Look, then ask again.',
        ),
      )
    }
    this.isAsked = false
  }

  failed(error: HermesError): void {
    this.answered.reject(error)
  }

  packet(type: number, bytes: Buffer, start: number, end: number): void {
    if (type !== packetType.reply) throw protocolError(`A packet of type ${type} came in place of a reply.`)
    this.reply = parseJson(bytes, start, end)
    this.#link.remove(this)
    this.answered.resolve()
  }
}
