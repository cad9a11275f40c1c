import { afterAll, beforeAll, test } from 'vitest'
import { Hermes } from '../../lib/client/hermes.js'
import { natsCapabilities } from '../../lib/placement/nats/capabilities.js'
import { checkNatsOptions } from '../../lib/placement/nats/options.js'
import { NatsPlacement } from '../../lib/placement/nats/placement.js'
import type { NatsPublisher } from '../../lib/placement/nats/publisher.js'
import { NatsSubscriber } from '../../lib/placement/nats/subscriber.js'
import type { GroupPlacement } from '../../lib/placement/port.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'
import { pause } from '../helpers/receive.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'

let cluster: NatsCluster

/** Most cases publish, subscribe and poll once: over a network it takes a moment, which is waited for here. */
function patient(transport: NatsPlacement): GroupPlacement {
  const publishers = new Set<NatsPublisher>()
  const settle = async () => {
    for (const publisher of publishers) await publisher.reached(publisher.ticket, 'written', undefined).catch(() => {})
  }
  return {
    capabilities: transport.capabilities,
    administration: transport.administration,
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
      if (subscriber instanceof NatsSubscriber) while (subscriber.arrived < subscriber.nextSequence()) await pause(1)
      return subscriber
    },
    consumer: async (topic, settings, group, options) => {
      await settle()
      return transport.consumer(topic, settings, group, options)
    },
    position: async (topic, settings, name, options) => {
      await settle()
      return transport.position(topic, settings, name, options)
    },
    close: () => transport.close(),
  }
}

/** One for each test: streams that are deleted and made anew at once are another matter (test/cluster/trouble.test.ts). */
const accounts = Array.from({ length: 400 }, (_, index) => `a${index}`)
const accountsText = accounts
  .map((name) => `${name}: { jetstream: enabled, users: [ { user: ${name}, password: secret } ] }`)
  .join('\n')

if (natsMissing !== undefined) test.skip(`publishes and subscribes by a cluster (${natsMissing})`, () => {})
else {
  beforeAll(async () => {
    cluster = await startNats(1, `max_payload: 8MB\naccounts {\n${accountsText}\n}`)
  }, 60_000)
  afterAll(() => cluster.close())
  runContract(
    {
      name: 'nats',
      capabilities: natsCapabilities,
      async open() {
        const place = cluster.url.replace('nats://', `nats://${accounts.pop()}:secret@`)
        const settings = checkNatsOptions(place, { subscribeBuffer: 64 * 1024 * 1024 })
        const hermes = new Hermes(place, patient(await NatsPlacement.connect(settings)))
        return {
          hermes,
          place,
          cleanup: () => hermes.close(),
        }
      },
    },
    cases,
  )
}
