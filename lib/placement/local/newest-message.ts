import { HermesError } from '../../base/errors.js'
import { frameBytes, frameOffset, frameType } from '../../frame/frame.js'
import type { SubscriberPort } from '../port.js'

const fetchLimit = 4096

/** The sequence of the last message from the position of a port on, one that is damaged included; `undefined` if there is none. */
export function newestMessage(port: SubscriberPort): number | undefined {
  let newest: number | undefined
  for (;;) {
    try {
      if (port.fetch(fetchLimit) === 0) return newest
    } catch (error) {
      const isDamage = error instanceof HermesError && error.code === 'CORRUPT'
      if (!isDamage || port.skipDamage() === 0) throw error
      newest = port.sequence - 1
      continue
    }
    const { data } = port.region
    while (port.offset < port.end) {
      const length = data.getUint32(port.offset + frameOffset.payloadLength, true)
      const isMessage = data.getUint8(port.offset + frameOffset.type) === frameType.data
      if (isMessage) newest = port.sequence
      port.sequence += isMessage || length < 8 ? 1 : data.getUint32(port.offset + frameOffset.payload, true)
      port.offset += frameBytes(length)
    }
  }
}
