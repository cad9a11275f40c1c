import { Deferred } from '../../base/deferred.js'
import type { HermesError } from '../../base/errors.js'
import { parseJson } from '../../wire/messages.js'
import { packetType, protocolError } from '../../wire/packet.js'
import { jsonPacket } from '../../wire/packet-writer.js'
import type { LinkUser } from './channels.js'
import type { Link } from './link.js'

/** A question to the broker. Asked again if the connection is lost before the answer. */
export class Request implements LinkUser {
  readonly answered = new Deferred<void>()
  readonly #link: Link
  readonly #content: Readonly<Record<string, unknown>>
  reply: Readonly<Record<string, unknown>> = {}
  isAsked = false

  constructor(link: Link, content: Readonly<Record<string, unknown>>) {
    this.#link = link
    this.#content = content
  }

  get idle(): boolean {
    return false
  }

  connected(channel: number): void {
    this.isAsked = true
    this.#link.send(jsonPacket(packetType.request, channel, this.#content))
  }

  disconnected(): void {
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
