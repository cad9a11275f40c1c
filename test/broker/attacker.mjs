// Sends one kind of flood to a broker, in a process of its own: node attacker.mjs <port> <kind> <milliseconds>
// Prints `ready` when it begins, and how many bytes it has sent at the end.
import { once } from 'node:events'
import { connect } from 'node:net'
import { deflateRawSync } from 'node:zlib'
import { frameType, sealFrame } from '../../dist/frame/frame.js'
import { text } from '../../dist/index.js'
import { packetType, preamble } from '../../dist/wire/packet.js'
import { PacketReader } from '../../dist/wire/packet-reader.js'
import {
  compressedPacket,
  creditPacket,
  emptyPacket,
  jsonPacket,
  sealPublish,
  u64Packet,
} from '../../dist/wire/packet-writer.js'

const [port, kind, durationMs] = process.argv.slice(2)
const end = performance.now() + Number(durationMs)
const connections = 4
const settings = { codec: { name: text.name, fingerprint: text.fingerprint, schema: null }, create: false }
const token = 'attacker-attacker-attacker'

class Client {
  received = new Map()
  closed = false
  sent = 0

  constructor(socket) {
    this.socket = socket
    const reader = new PacketReader('server', 1 << 25, (type) =>
      this.received.set(type, (this.received.get(type) ?? 0) + 1),
    )
    reader.compression = true
    socket.on('data', (chunk) => reader.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
    })
  }

  static async open(hello = true) {
    // From an address of its own: what one address may do is limited, and the victim is not to be refused for it.
    const socket = connect({ port: Number(port), host: '127.0.0.1', localAddress: '127.0.0.2', noDelay: true })
    const client = new Client(socket)
    await once(socket, 'connect').catch(() => {})
    if (hello) {
      client.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], token, features: ['deflate'] }))
      await client.hear(packetType.welcome)
    }
    return client
  }

  say(...bytes) {
    for (const one of bytes) this.sent += one.length
    return this.socket.write(bytes.length === 1 ? bytes[0] : Buffer.concat(bytes))
  }

  async hear(type) {
    while (!this.received.has(type) && !this.closed && performance.now() < end) await pause(1)
  }

  /** Says it as often as the broker takes it. */
  async repeat(make) {
    while (performance.now() < end && !this.closed) {
      if (this.say(make())) await new Promise((resolve) => setImmediate(resolve))
      else await Promise.race([once(this.socket, 'drain').catch(() => {}), pause(200)])
    }
  }

  async publisher(channel) {
    const producer = Math.random().toString(16).slice(2, 10).padStart(16, '0')
    const open = { topic: 'open', settings, durability: 'written', producer, acked: '0' }
    this.say(jsonPacket(packetType.openPublisher, channel, open))
    await this.hear(packetType.publisherOpened)
  }

  async subscriber(channel, topic = 'long', credit = 0) {
    this.say(jsonPacket(packetType.subscribe, channel, { topic, settings, from: 'earliest', credit }))
    await this.hear(packetType.subscribed)
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
const many = (count, packet) => Buffer.concat(Array.from({ length: count }, () => packet))

/** A PUBLISH of one message with this number. */
function publishPacket(channel, number) {
  const frame = Buffer.alloc(40)
  frame.write('message!', 32)
  const data = new DataView(frame.buffer, frame.byteOffset, frame.length)
  sealFrame(frame, data, 0, frameType.data, 0, 0, Number(number & 0xffff_ffffn), Number(number >> 32n), 8)
  const packet = Buffer.concat([Buffer.alloc(32), frame])
  sealPublish(packet, 0, channel, 0n, 1, frame.length)
  return packet
}

async function eachType(client, hello) {
  const types = Object.values(packetType)
  for (let n = 0; performance.now() < end; n++) {
    const one = await Client.open(hello)
    if (!hello) one.say(preamble)
    const packet = u64Packet(types[n % types.length], 1, 1n)
    client.sent += packet.length
    one.say(many(50, packet))
    for (let waited = 0; waited < 5 && !one.closed; waited++) await pause(1)
    one.socket.destroy()
  }
}

/** The same for each connection. */
const floods = {
  async none() {},
  async ping(client) {
    const pings = many(5000, u64Packet(packetType.ping, 0, 1n))
    await client.repeat(() => pings)
  },
  async sync(client) {
    await client.publisher(1)
    const syncs = many(5000, u64Packet(packetType.sync, 1, 1n))
    await client.repeat(() => syncs)
  },
  async credit(client) {
    await client.subscriber(1, 'open')
    const credits = many(5000, creditPacket(1, 0))
    await client.repeat(() => credits)
  },
  async seek(client) {
    await client.subscriber(1)
    let epoch = 0
    await client.repeat(() =>
      Buffer.concat(
        Array.from({ length: 50 }, () =>
          jsonPacket(packetType.seek, 1, { epoch: ++epoch, from: 60_000 + (epoch % 1000) }),
        ),
      ),
    )
  },
  async subscribe(client) {
    let channel = 0
    await client.repeat(() => {
      const packets = []
      for (let n = 0; n < 200; n++) {
        const wanted = { topic: 'long', settings, from: 'latest', credit: 0 }
        packets.push(jsonPacket(packetType.subscribe, ++channel, wanted), emptyPacket(packetType.close, channel))
      }
      return Buffer.concat(packets)
    })
  },
  async 'open-publisher'(client) {
    let channel = 0
    await client.repeat(() => {
      const packets = []
      for (let n = 0; n < 100; n++) {
        const producer = (channel + 1).toString(16).padStart(16, '0')
        const open = { topic: 'open', settings, durability: 'written', producer, acked: '0' }
        packets.push(jsonPacket(packetType.openPublisher, ++channel, open), emptyPacket(packetType.close, channel))
      }
      return Buffer.concat(packets)
    })
  },
  async topics(client) {
    let channel = 0
    await client.repeat(() =>
      Buffer.concat(Array.from({ length: 50 }, () => jsonPacket(packetType.request, ++channel, { op: 'topics' }))),
    )
  },
  async info(client) {
    let channel = 0
    await client.repeat(() =>
      Buffer.concat(
        Array.from({ length: 50 }, () => jsonPacket(packetType.request, ++channel, { op: 'info', topic: 'long' })),
      ),
    )
  },
  async bomb(client) {
    await client.publisher(1)
    client.say(emptyPacket(packetType.close, 1))
    await client.hear(packetType.closed)
    const stream = deflateRawSync(Buffer.alloc(1 << 20))
    const bombs = many(100, compressedPacket(packetType.publish, 1, Buffer.alloc(16), 1 << 20, stream))
    await client.repeat(() => bombs)
  },
  async json(client) {
    let channel = 0
    const filler = '['.repeat(30_000) + ']'.repeat(30_000)
    await client.repeat(() => jsonPacket(packetType.request, ++channel, { op: 'nothing', filler }))
  },
  async denied(client) {
    let channel = 0
    await client.repeat(() => {
      const packets = []
      for (let n = 0; n < 200; n++) {
        const open = { topic: 'secret', settings, durability: 'written', producer: '00000000000000aa', acked: '0' }
        packets.push(jsonPacket(packetType.openPublisher, ++channel, open))
      }
      return Buffer.concat(packets)
    })
  },
  async 'catch-up'(client) {
    for (let channel = 1; channel <= 6; channel++) await client.subscriber(channel, 'long', 2 ** 30)
    while (performance.now() < end && !client.closed) await pause(50)
  },
  async trickle(client) {
    const packet = jsonPacket(packetType.request, 1, { op: 'topics', filler: 'x'.repeat(60_000) })
    let at = 0
    await client.repeat(() => packet.subarray(at, ++at))
  },
  /** Messages as they should be, in batches of one. */
  async publish(client) {
    await client.publisher(1)
    let number = 0n
    await client.repeat(() => {
      const packets = []
      for (let n = 0; n < 500; n++) packets.push(publishPacket(1, ++number))
      return Buffer.concat(packets)
    })
  },
  /** What was stored already. */
  async resend(client) {
    await client.publisher(1)
    const packets = many(500, publishPacket(1, 1n))
    await client.repeat(() => packets)
  },
  async pong(client) {
    const pongs = many(5000, u64Packet(packetType.pong, 0, 1n))
    await client.repeat(() => pongs)
  },
  /** Of channels that there are not. */
  async close(client) {
    const closes = many(5000, emptyPacket(packetType.close, 7))
    await client.repeat(() => closes)
  },
  /** Joins of groups that may not be made, and what only a member may say. */
  async join(client) {
    let channel = 0
    await client.repeat(() => {
      const packets = []
      for (let n = 0; n < 100; n++)
        packets.push(jsonPacket(packetType.join, ++channel, { topic: 'secret', name: `g${n}` }))
      return Buffer.concat(packets)
    })
  },
  /** Each type that there is, one per connection: those that clients do not send, or not here, end it. */
  async misplaced(client) {
    client.socket.destroy()
    await eachType(client, true)
  },
  /** The same without a HELLO. */
  async unauthenticated(client) {
    client.socket.destroy()
    await eachType(client, false)
  },
  /** Without a HELLO. */
  async strangers(client) {
    client.socket.destroy()
    while (performance.now() < end) {
      const one = await Client.open(false)
      one.say(preamble, jsonPacket(packetType.hello, 0, { versions: [1, 1], token: 'a wrong token, a wrong token' }))
      if (Math.random() < 0.5) one.socket.destroy()
    }
  },
  async garbage(client) {
    client.socket.destroy()
    while (performance.now() < end) {
      const one = await Client.open(false)
      one.say(Buffer.alloc(100_000, 'x'))
    }
  },
}

if (kind === 'list') {
  process.stdout.write(Object.keys(floods).join(' '))
} else {
  process.stdout.write('ready\n')
  const clients = await Promise.all(Array.from({ length: connections }, () => Client.open()))
  await Promise.all(clients.map((client) => floods[kind](client)))
  process.stdout.write(`${clients.reduce((sum, { sent }) => sum + sent, 0)}\n`)
  process.exit(0)
}
