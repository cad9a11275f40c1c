import { Hermes } from '../../lib/client/hermes.js'
import type { GroupPlacement } from '../../lib/placement/port.js'
import { remoteCapabilities } from '../../lib/placement/remote/capabilities.js'
import { checkTcpOptions, type TcpOptions } from '../../lib/placement/remote/options.js'
import { RemotePlacement } from '../../lib/placement/remote/placement.js'
import type { RemotePublisher } from '../../lib/placement/remote/publisher.js'
import { transportOf } from '../../lib/placement/remote/transports.js'
import { pause } from '../helpers/receive.js'
import type { StartBroker } from './broker-here.js'
import type { Placement } from './placement.js'

/**
 * Most cases publish, subscribe and poll once: in a local placement everything is there at once. Over TCP it takes a moment, which this
 * transport waits for before it gives out a subscriber or information.
 */
function awaitingArrival(transport: RemotePlacement): GroupPlacement {
  const publishers = new Set<RemotePublisher>()
  const flush = async () => {
    for (const publisher of publishers) await publisher.reached(publisher.ticket, 'written', undefined).catch(() => {})
  }
  return {
    capabilities: transport.capabilities,
    topics: () => transport.topics(),
    info: async (name) => {
      await flush()
      return transport.info(name)
    },
    publisher: async (topic, settings, options) => {
      await flush()
      const publisher = await transport.publisher(topic, settings, options)
      publishers.add(publisher)
      return publisher
    },
    subscriber: async (topic, settings, options) => {
      await flush()
      const subscriber = await transport.subscriber(topic, settings, options)
      while (subscriber.arrived < subscriber.nextSequence()) await pause(1)
      return subscriber
    },
    consumer: async (topic, settings, group, options) => {
      await flush()
      return transport.consumer(topic, settings, group, options)
    },
    position: async (topic, settings, name, options) => {
      await flush()
      return transport.position(topic, settings, name, options)
    },
    close: () => transport.close(),
  }
}

/** A broker of its own for each test, and a client that was given `client`. */
export function remotePlacement(name: string, start: StartBroker, client: TcpOptions): Placement {
  return {
    name,
    capabilities: remoteCapabilities,
    async open() {
      const broker = await start()
      const settings = checkTcpOptions(broker.url, { subscribeBuffer: 64 * 1024 * 1024, ...client })
      const hermes = new Hermes(
        broker.url,
        awaitingArrival(await RemotePlacement.connect(settings, await transportOf(settings))),
      )
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
  }
}
