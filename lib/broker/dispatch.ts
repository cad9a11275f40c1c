import { parseJson, parseSeek } from '../wire/messages.js'
import { packetType, protocolError } from '../wire/packet.js'
import type { ChannelTable } from './channel-table.js'

type Fields = Readonly<Record<string, unknown>>

/** Carries out what a client's packets ask for. */
export interface DispatchTarget {
  publish(channel: number, bytes: Buffer, start: number, end: number): void
  ping(channel: number, value: bigint): void
  close(channel: number): void
  openPublisher(channel: number, fields: Fields): void
  openSubscriber(channel: number, fields: Fields): void
  request(channel: number, fields: Fields): void
  member(channel: number, type: number, bytes: Buffer, start: number, end: number): void
}

/**
 * Hands one packet to whom it is for. What is for a channel that has ended is passed over: the client could not know yet.
 *
 * @throws HermesError `PROTOCOL`
 */
export function dispatch(
  target: DispatchTarget,
  channels: ChannelTable,
  type: number,
  channel: number,
  bytes: Buffer,
  start: number,
  end: number,
): void {
  switch (type) {
    case packetType.publish:
      target.publish(channel, bytes, start, end)
      return
    case packetType.credit: {
      const found = channels.find(channel)
      if (found === undefined) return
      if (found.kind !== 'subscriber') throw protocolError('CREDIT is for subscribers.')
      found.addCredit(bytes.readUInt32LE(start))
      return
    }
    case packetType.sync: {
      const found = channels.find(channel)
      if (found === undefined) return
      if (found.kind !== 'publisher') throw protocolError('SYNC is for publishers.')
      found.sync(bytes.readBigUInt64LE(start))
      return
    }
    case packetType.ping:
      target.ping(channel, bytes.readBigUInt64LE(start))
      return
    case packetType.pong:
      return
    case packetType.close:
      target.close(channel)
      return
    case packetType.seek: {
      const found = channels.find(channel)
      if (found === undefined) return
      if (found.kind !== 'subscriber') throw protocolError('SEEK is for subscribers.')
      found.seek(parseSeek(parseJson(bytes, start, end)))
      return
    }
    case packetType.openPublisher:
      target.openPublisher(channel, parseJson(bytes, start, end))
      return
    case packetType.subscribe:
      target.openSubscriber(channel, parseJson(bytes, start, end))
      return
    case packetType.request:
      target.request(channel, parseJson(bytes, start, end))
      return
    case packetType.join:
    case packetType.demand:
    case packetType.settle:
    case packetType.ask:
    case packetType.keys:
    case packetType.commit:
      target.member(channel, type, bytes, start, end)
      return
    default:
      throw protocolError(`A packet of type ${type} is out of place.`)
  }
}
