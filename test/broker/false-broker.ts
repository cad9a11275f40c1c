import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import { ackPacket, emptyPacket, jsonPacket, u64Packet } from '../../lib/wire/packet-writer.js'

/** What a false broker has been told. */
export interface Told {
  readonly type: number
  readonly channel: number
  readonly body: Buffer
}

/** One client's connection to a false broker. */
export class FalseConnection {
  readonly socket: Socket
  readonly told: Told[] = []
  #said = 0
  readonly #broker: FalseBroker

  constructor(broker: FalseBroker, socket: Socket) {
    this.#broker = broker
    this.socket = socket
    let skip = preamble.length
    const reader = new PacketReader('client', 1 << 24, (type, channel, bytes, start, end) => {
      const packet = { type, channel, body: Buffer.from(bytes.subarray(start, end)) }
      this.told.push(packet)
      const answer = broker.answer(packet, this) ?? honestAnswer(packet)
      if (answer !== undefined) this.say(answer)
    })
    socket.on('data', (chunk: Buffer) => {
      const from = Math.min(skip, chunk.length)
      skip -= from
      if (from < chunk.length) reader.push(chunk.subarray(from))
    })
    socket.on('error', () => {})
  }

  /** How often the client has said something of this type. */
  count(type: number): number {
    return this.told.filter((one) => one.type === type).length
  }

  say(packet: Buffer): void {
    const spoiled = this.#broker.spoil(packet, this.#said++, this)
    if (spoiled !== undefined && !this.socket.destroyed) this.socket.write(spoiled)
  }
}

/** Something that speaks the protocol, and is no broker. */
export class FalseBroker {
  readonly connections: FalseConnection[] = []
  readonly #server: Server
  /** What to say in place of the honest answer; `undefined`: the honest one. */
  answer: (packet: Told, connection: FalseConnection) => Buffer | undefined = () => undefined
  /** What to write in place of a packet; `undefined`: nothing. */
  spoil: (packet: Buffer, index: number, connection: FalseConnection) => Buffer | undefined = (packet) => packet

  private constructor() {
    this.#server = createServer({ noDelay: true, allowHalfOpen: true }, (socket) => {
      this.connections.push(new FalseConnection(this, socket))
    })
  }

  static async start(): Promise<FalseBroker> {
    const broker = new FalseBroker()
    broker.#server.listen(0, '127.0.0.1')
    await once(broker.#server, 'listening')
    return broker
  }

  get url(): string {
    return `tcp://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  close(): void {
    for (const { socket } of this.connections) socket.destroy()
    this.#server.close()
  }
}

export const welcome = {
  version: 1,
  features: [],
  server: 'false',
  instance: 'a',
  heartbeatMs: 60_000,
  limits: { maxPacketBytes: 1 << 20, maxBatchBytes: 1 << 18, maxChannels: 100 },
}
export const publisherOpened = {
  stored: '0',
  runs: [],
  maxPayloadBytes: 4096,
  maxBatchBytes: 1 << 18,
  nextSequence: 1,
}
export const subscribed = { epoch: 0, sequence: 1, nextSequence: 1, maxPayloadBytes: 4096 }

/** What a broker of an empty topic would say. */
function honestAnswer({ type, channel, body }: Told): Buffer | undefined {
  switch (type) {
    case packetType.hello:
      return jsonPacket(packetType.welcome, 0, welcome)
    case packetType.openPublisher:
      return jsonPacket(packetType.publisherOpened, channel, publisherOpened)
    case packetType.publish:
      return ackPacket(channel, [{ first: body.readBigUInt64LE(32), count: body.readUInt32LE(8), sequence: 1 }])
    case packetType.sync:
      return u64Packet(packetType.synced, channel, body.readBigUInt64LE(0))
    case packetType.subscribe:
      return jsonPacket(packetType.subscribed, channel, subscribed)
    case packetType.seek: {
      const { epoch } = parseJson(body, 0, body.length)
      return jsonPacket(packetType.subscribed, channel, { ...subscribed, epoch })
    }
    case packetType.request: {
      const { op } = parseJson(body, 0, body.length)
      return jsonPacket(packetType.reply, channel, op === 'topics' ? { topics: ['t'] } : { info: { nextSequence: 1 } })
    }
    case packetType.close:
      return emptyPacket(packetType.closed, channel)
    case packetType.ping:
      return u64Packet(packetType.pong, channel, body.readBigUInt64LE(0))
    default:
      return undefined
  }
}
