import { Hermes } from '../../lib/client/hermes.js'
import type { Placement as PlacementPort } from '../../lib/placement/port.js'
import { checkTcpOptions, type TcpOptions } from '../../lib/placement/remote/options.js'
import { RemotePlacement } from '../../lib/placement/remote/placement.js'
import type { RemotePublisher } from '../../lib/placement/remote/publisher.js'
import { pause } from '../helpers/receive.js'
import type { StartBroker } from './broker-here.js'
import type { Placement, Skip } from './placement.js'

/**
 * Most cases publish, subscribe and poll once: in a local placement everything is there at once. Over TCP it takes a moment, which this
 * transport waits for before it gives out a subscriber or information.
 */
function patient(transport: RemotePlacement): PlacementPort {
  const publishers = new Set<RemotePublisher>()
  const settle = async () => {
    for (const publisher of publishers) await publisher.reached(publisher.ticket, 'written', undefined).catch(() => {})
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
const skip = (reason: string, tests: readonly string[]): Skip[] => tests.map((test) => ({ test, reason }))

/** What no remote placement can do, whatever lies between it and the broker. */
const remoteSkips: readonly Skip[] = [
  ...skip(atOnce, [
    'sees what its own process publishes within a handler',
    'begins at the only place there is while the topic is empty',
    'tells position and lag',
    'tells a subscriber that fell behind what the first message is that is left',
    'answers with another message or an error when a view is kept',
  ]),
  ...skip(later, [
    'is where it was after a seek that failed',
    'seeks to anywhere between polls',
    'seeks from within a handler',
    'refuses to begin at what was removed, and tells the first message that is left',
  ]),
  ...skip(local, ['tells what is known of a topic']),
  ...skip(stamps, ['stamps messages with the time of their publication']),
]

/** A broker of its own for each test, and a client that was given `client`. */
export function remotePlacement(name: string, start: StartBroker, client: TcpOptions): Placement {
  return {
    name,
    async open() {
      const broker = await start()
      const settings = checkTcpOptions(broker.url, { subscribeBuffer: 64 * 1024 * 1024, ...client })
      const hermes = new Hermes(broker.url, patient(await RemotePlacement.connect(settings)))
      return {
        hermes,
        place: broker.url,
        options: client,
        cleanup: async () => {
          await hermes.close()
          await broker.close()
        },
      }
    },
    skip: remoteSkips,
  }
}
