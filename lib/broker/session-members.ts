import { HermesError } from '../base/errors.js'
import { parseJson } from '../wire/messages.js'
import { packetType, protocolError } from '../wire/packet.js'
import type { ChannelOpener, OpeningSession } from './channel-opener.js'
import type { ChannelTable } from './channel-table.js'
import type { MemberHost } from './member-channel.js'
import { MemberOpener } from './member-opener.js'
import type { SessionHost, SessionPort } from './session-port.js'

/** The session whose members these are. */
export interface MembersSession extends OpeningSession {
  /** Has a channel opened in its turn. */
  open(channel: number, work: () => Promise<void>): void
}

/** What one client says of its members of groups. */
export class SessionMembers {
  /** The client has the feature. */
  areAgreed = false
  readonly #channels: ChannelTable
  readonly #session: MembersSession
  readonly #opener: MemberOpener
  readonly #touched: Set<{ acknowledge(): void }>

  /** @param touched those for which SETTLEs have come: each answers once for all that have arrived */
  constructor(
    host: SessionHost,
    port: SessionPort,
    channels: ChannelTable,
    opener: ChannelOpener,
    session: MembersSession,
    touched: Set<{ acknowledge(): void }>,
  ) {
    this.#touched = touched
    this.#channels = channels
    this.#session = session
    const memberHost: MemberHost = {
      get heardAt() {
        return port.heardAt
      },
      get wasLetGo() {
        return port.wasLetGo
      },
      shown: (error) => host.shown(error),
      send: (packet) => session.send(packet),
      failChannel: (channel, error) => session.failChannel(channel, error),
      note: (channel) => session.note(channel),
      deliver: () => session.deliver(),
    }
    this.#opener = new MemberOpener(host, channels, opener, session, memberHost)
  }

  /** @throws HermesError `PROTOCOL` */
  packet(channel: number, type: number, bytes: Buffer, start: number, end: number): void {
    if (type === packetType.join) {
      if (!this.areAgreed) throw protocolError("JOIN needs the feature 'groups', which was not agreed on.")
      const fields = parseJson(bytes, start, end)
      this.#session.open(channel, () => this.#opener.open(channel, fields))
      return
    }
    const found = this.#channels.find(channel)
    if (found === undefined) return
    if (found.kind !== 'member') throw protocolError(`A packet of type ${type} is for members of groups.`)
    try {
      found.packet(type, bytes, start, end)
      if (type === packetType.settle) this.#touched.add(found)
    } catch (error) {
      if (!(error instanceof HermesError) || error.code === 'PROTOCOL') throw error
      found.giveUp(error)
    }
  }
}
