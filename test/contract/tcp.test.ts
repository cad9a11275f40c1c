import { join } from 'node:path'
import { serve } from '../../lib/broker/broker.js'
import { Hermes } from '../../lib/hermes.js'
import { checkTcpOptions } from '../../lib/transport/tcp/options.js'
import type { TcpPublisher } from '../../lib/transport/tcp/tcp-publisher.js'
import { TcpTransport } from '../../lib/transport/tcp/tcp-transport.js'
import type { Transport } from '../../lib/transport/transport.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { pause } from '../helpers/receive.js'
import { cases } from './cases.js'
import { runContract, type Skip } from './placement.js'

/**
 * Most cases publish, subscribe and poll once: in a local placement everything is there at once. Over TCP it takes a moment, which this
 * transport waits for before it gives out a subscriber or information.
 */
function patient(transport: TcpTransport): Transport {
  const publishers = new Set<TcpPublisher>()
  const settle = async () => {
    for (const publisher of publishers)
      await publisher.reached(publisher.accepted, 'written', undefined).catch(() => {})
  }
  return {
    topics: () => transport.topics(),
    info: async (name) => {
      await settle()
      return transport.info(name)
    },
    publisher: async (topic, settings, options) => {
      await settle()
      const publisher = await transport.publisher(topic, settings, options)
      publishers.add(publisher)
      return publisher
    },
    subscriber: async (topic, settings, options) => {
      await settle()
      const subscriber = await transport.subscriber(topic, settings, options)
      while (subscriber.arrived < subscriber.nextSequence()) await pause(1)
      return subscriber
    },
    close: () => transport.close(),
  }
}

const atOnce = 'polls in the turn in which it published: over TCP a message has to travel first'
const later = 'a bad seek is told by the next fetch: nobody can know it in the call'
const local = 'opens the place with options that only directories have'
const stamps = 'the messages of a batch have timestamps that count up by one'
const number = 'the newest sequence is known once it is acknowledged'
const skip = (reason: string, tests: readonly string[]): Skip[] => tests.map((test) => ({ test, reason }))

runContract(
  {
    name: 'tcp',
    async open() {
      const folder = makeFolder()
      const broker = await serve({ dir: join(folder, 'data'), port: 0 })
      const transport = await TcpTransport.connect(checkTcpOptions(broker.url, { subscribeBuffer: 64 * 1024 * 1024 }))
      const hermes = new Hermes(broker.url, patient(transport))
      return {
        hermes,
        place: broker.url,
        cleanup: async () => {
          await hermes.close()
          await broker.close()
          removeFolder(folder)
        },
      }
    },
    skip: [
      ...skip(atOnce, [
        'publishes nothing of a value that can not be encoded',
        'says how many values of a batch were accepted before one that can not be encoded',
        'keeps the values of a batch whole when its iterable uses the publisher',
        'publishes batches of messages that are large for the segment',
        'interleaves publishers without loss, each in its own order',
        'gives every subscriber every message',
        'sees what its own process publishes within a handler',
        'begins with what is published from now on, unless told otherwise',
        'begins at the only place there is while the topic is empty',
        'tells position and lag',
        'takes a payload of the limit and refuses one byte more: 1048576',
        'goes through many of the smallest segments, with sizes of every kind',
        'fills segments to the last byte',
        'tells a subscriber that fell behind what the first message is that is left',
        'leaves the log as it was when raw payloads are changed',
        'leaves the log as it was when what struct views give out is changed',
        'gives codecs that were written elsewhere copies to work on',
        'answers with another message or an error when a view is kept',
      ]),
      ...skip(later, [
        'is where it was after a seek that failed',
        'seeks to anywhere between polls',
        'seeks from within a handler',
        'refuses to begin at what was removed, and tells the first message that is left',
      ]),
      ...skip(local, ['tells what is known of a topic']),
      ...skip(number, [
        'publishes a batch of 1',
        'publishes a batch of 2',
        'publishes a batch of 255',
        'publishes a batch of 256',
        'publishes a batch of 257',
        'publishes a batch of 511',
        'publishes a batch of 512',
        'publishes a batch of 1000',
        'numbers messages densely from 1',
        'goes on numbering when the topic is opened again',
      ]),
      ...skip(stamps, ['stamps messages with the time of their publication']),
    ],
  },
  cases,
)
