import { HermesError } from '../base/errors.js'
import { version } from '../base/version.js'
import { compressionFeature } from '../wire/compression.js'
import { groupsFeature } from '../wire/group-packets.js'
import { parseHello } from '../wire/messages.js'
import { packetType, preamble, protocolError, protocolVersion } from '../wire/packet.js'
import { jsonPacket } from '../wire/packet-writer.js'
import { type Credentials, credentialsOf, type Rights } from './access.js'
import type { SessionHost, SessionPort } from './session-port.js'

/** Takes the first bytes of a connection, which say that it is a Hermes client's. */
export class Preamble {
  #taken = 0

  /** Of the preamble, while it is not whole. */
  get pendingBytes(): number {
    return this.isWhole ? 0 : this.#taken
  }

  get isWhole(): boolean {
    return this.#taken === preamble.length
  }

  /** @returns how many bytes of the chunk belong to it. @throws HermesError `PROTOCOL` */
  take(chunk: Buffer): number {
    const more = Math.min(chunk.length, preamble.length - this.#taken)
    if (!preamble.subarray(this.#taken, this.#taken + more).equals(chunk.subarray(0, more)))
      throw protocolError('This is no Hermes client.')
    this.#taken += more
    return more
  }
}

/** What a HELLO says of its client. */
export interface Hello {
  readonly rights: Rights
  readonly credentials: Credentials
  /** Whether frames may be compressed. */
  readonly compresses: boolean
  /** Whether it may join groups. */
  readonly groups: boolean
}

/** @throws HermesError `VERSION_MISMATCH`, `UNAUTHORIZED`, `PROTOCOL` */
export function checkHello(host: SessionHost, port: SessionPort, fields: Readonly<Record<string, unknown>>): Hello {
  const hello = parseHello(fields)
  if (hello.versions[0] > protocolVersion || hello.versions[1] < protocolVersion) {
    throw new HermesError('VERSION_MISMATCH', `This broker speaks version ${protocolVersion} of the protocol.`, {
      details: { supported: [protocolVersion, protocolVersion], wanted: hello.versions },
    })
  }
  const { access, compression } = host.settings
  const credentials = credentialsOf(hello.token, port.certificateName)
  return {
    rights: access.identify(credentials),
    credentials,
    compresses: compression === 'deflate' && hello.features.includes(compressionFeature),
    groups: hello.features.includes(groupsFeature),
  }
}

/** The answer to a client that was let in. */
export function welcomePacket(host: SessionHost, { compresses, groups }: Hello): Buffer {
  const { maxBatchBytes, maxChannels, heartbeatMs } = host.settings.limits
  return jsonPacket(packetType.welcome, 0, {
    version: protocolVersion,
    features: [...(compresses ? [compressionFeature] : []), ...(groups ? [groupsFeature] : [])],
    server: `hermes-mq/${version}`,
    instance: host.instance,
    heartbeatMs,
    limits: { maxPacketBytes: host.maxPacketBytes, maxBatchBytes, maxChannels },
  })
}
