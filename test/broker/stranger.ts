import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { deflateRawSync } from 'node:zlib'
import { expect } from 'vitest'
import { frameType, sealFrame } from '../../lib/frame/frame.js'
import { text } from '../../lib/index.js'
import { parseJson } from '../../lib/wire/messages.js'
import { packetType, preamble } from '../../lib/wire/packet.js'
import { PacketReader } from '../../lib/wire/packet-reader.js'
import { compressedPacket, jsonPacket, sealPublish } from '../../lib/wire/packet-writer.js'
import { pause } from './harness.js'

const codec = { name: text.name, fingerprint: text.fingerprint, schema: null }
/** Of the topics that strangers use, as they travel. */
export const settings = { codec, create: true, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }

export interface Packet {
  readonly type: number
  readonly channel: number
  readonly body: Buffer
}

/** A client that says what it is told to say. */
export class Stranger {
  readonly socket: Socket
  readonly packets: Packet[] = []
  welcome: Readonly<Record<string, unknown>> = {}
  closed = false

  constructor(socket: Socket) {
    this.socket = socket
    // (it reads compressed frames too; whether they may come is for its HELLO to say)
    const reader = new PacketReader('server', 1 << 24, (type, channel, bytes, start, end) => {
      this.packets.push({ type, channel, body: Buffer.from(bytes.subarray(start, end)) })
    })
    reader.compression = true
    socket.on('data', (chunk: Buffer) => reader.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
  }

  static async connect(port: number): Promise<Stranger> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const stranger = new Stranger(socket)
    await once(socket, 'connect')
    return stranger
  }

  /** With a WELCOME. */
  static async greeted(
    port: number,
    { token, features = [] }: { readonly token?: string; readonly features?: readonly string[] } = {},
  ): Promise<Stranger> {
    const stranger = await Stranger.connect(port)
    stranger.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], token, features }))
    const { body } = await stranger.hear(packetType.welcome)
    stranger.welcome = parseJson(body, 0, body.length)
    return stranger
  }

  say(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  async hear(type: number): Promise<Packet> {
    const until = performance.now() + 30_000
    for (;;) {
      const found = this.packets.findIndex((one) => one.type === type)
      if (found >= 0) return this.packets.splice(found, 1)[0] as Packet
      if (performance.now() > until)
        throw new Error(`no packet of type ${type}; got ${JSON.stringify(this.packets.map((one) => one.type))}`)
      await pause(2)
    }
  }

  async error(): Promise<string> {
    const { body } = await this.hear(packetType.error)
    return String(parseJson(body, 0, body.length)['code'])
  }

  async gone(withinMs = 30_000): Promise<void> {
    const until = performance.now() + withinMs
    while (!this.closed && performance.now() < until) await pause(2)
    expect(this.closed).toBe(true)
  }

  async publisher(channel: number, producer = '00000000000000aa', acked = '0'): Promise<Record<string, unknown>> {
    const open = { topic: 't', settings, durability: 'written', producer, acked }
    this.say(jsonPacket(packetType.openPublisher, channel, open))
    const { body } = await this.hear(packetType.publisherOpened)
    return parseJson(body, 0, body.length) as Record<string, unknown>
  }
}

/** A PUBLISH as it should be; `spoil` may change the frames before the packet is sealed. */
export function batch(
  channel: number,
  first: bigint,
  values: readonly string[],
  spoil: (frames: Buffer) => void = () => {},
): Buffer {
  const frames = Buffer.concat(
    values.map((value, index) => {
      const payload = Buffer.from(value)
      const bytes = Buffer.alloc(32 + Math.ceil(payload.length / 8) * 8)
      payload.copy(bytes, 32)
      const number = first + BigInt(index)
      sealFrame(
        bytes,
        new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
        0,
        frameType.data,
        0,
        0,
        Number(number & 0xffff_ffffn),
        Number(number >> 32n),
        payload.length,
      )
      return bytes
    }),
  )
  spoil(frames)
  const packet = Buffer.concat([Buffer.alloc(32), frames])
  sealPublish(packet, 0, channel, 0n, values.length, frames.length)
  return packet
}

/** The same PUBLISH with its frames compressed; or with what is given in place of them and of their length. */
export function compressed(
  publish: Buffer,
  level = 1,
  length: number = publish.length - 32,
  stream: Buffer = deflateRawSync(publish.subarray(32), { level }),
): Buffer {
  return compressedPacket(packetType.publish, publish.readUInt32LE(8), publish.subarray(16, 32), length, stream)
}
