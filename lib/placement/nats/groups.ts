import { HermesError } from '../../base/errors.js'
import { defaultRules } from '../../model/group.js'
import type { From } from '../../model/topic.js'
import { requireAbility } from '../capabilities.js'
import type { ConsumerOptions, PositionOptions } from '../consumer-port.js'
import { checkSameGroup } from '../group-check.js'
import { checkTopicOf } from './administration.js'
import { natsCapabilities } from './capabilities.js'
import { NatsConsumer } from './consumer.js'
import { DeadLetters } from './dead-letters.js'
import { GroupEntry } from './group-entry.js'
import { type Ledger, newLedger } from './ledger.js'
import { NatsPosition } from './position.js'
import type { NatsPublisher } from './publisher.js'
import type { Cluster, TopicStream } from './stream.js'

const defaultWindow = 65_536

/** Joins a group, and makes it if there is none. @param letters opens a topic for dead letters @throws HermesError */
export async function joinGroup(
  cluster: Cluster,
  stream: TopicStream,
  name: string,
  options: ConsumerOptions,
  letters: (topic: string) => Promise<NatsPublisher>,
): Promise<NatsConsumer> {
  const { topic } = stream
  const { kind, window = defaultWindow, rules, upToSynced, deadLetter = `${topic}.dead` } = options
  if (upToSynced === true)
    requireAbility(`Group '${name}' of topic '${topic}'`, natsCapabilities.syncing, { topic, group: name })
  if (deadLetter === topic) {
    throw new HermesError(
      'INVALID_ARGUMENT',
      `'deadLetter' of group '${name}' is its own topic '${topic}': what is given up would come again. Name another topic, or leave it out for '${topic}.dead'.`,
      { details: { topic, group: name } },
    )
  }
  const plan = { kind, window, rules: { ...defaultRules, ...rules }, deadLetter }
  const { entry, isMade } = await openEntry(cluster, stream, name, options.from, plan)
  const found = entry.ledger as Ledger
  if (!isMade) checkSameGroup(topic, name, { ...found.rules, ...found, upToSynced: false }, found.deadLetter, options)
  const to = found.deadLetter
  const { codec } = stream.definition
  const box = to === '' ? undefined : new DeadLetters(topic, name, codec.name, () => letters(to))
  return NatsConsumer.join(stream, entry, options, box)
}

/** Takes the position of a durable subscription, and makes it if there is none. @throws HermesError */
export async function takePosition(
  cluster: Cluster,
  stream: TopicStream,
  name: string,
  options: PositionOptions,
): Promise<NatsPosition> {
  const { topic } = stream
  const { leaseMs = defaultRules.leaseMs } = options
  const plan = { kind: 'durable', window: 0, rules: { ...defaultRules, leaseMs }, deadLetter: '' } as const
  const { entry } = await openEntry(cluster, stream, name, options.from, plan)
  const { kind } = entry.ledger as Ledger
  if (kind !== 'durable') {
    throw new HermesError(
      'CONFIG_MISMATCH',
      `'${name}' is a group of topic '${topic}', of kind '${kind}', and no subscription: join it with topic.group(), or choose another name.`,
      { details: { topic, group: name, found: kind, wanted: 'durable' } },
    )
  }
  return NatsPosition.take(stream, entry, options)
}

async function openEntry(
  cluster: Cluster,
  stream: TopicStream,
  name: string,
  from: From,
  plan: Pick<Ledger, 'kind' | 'window' | 'rules' | 'deadLetter'>,
): Promise<{ readonly entry: GroupEntry; readonly isMade: boolean }> {
  const entry = new GroupEntry(cluster, stream.topic, name)
  await entry.make()
  await entry.read()
  const mark = crypto.randomUUID()
  if (entry.ledger === undefined) {
    const { at, sequence } = await stream.locate(from)
    const fresh = { ...newLedger({ ...plan, topicId: stream.definition.id, next: sequence, nextAt: at }), mark }
    await entry.change(
      // (another one may have been faster)
      (draft) => (draft === undefined ? { ledger: fresh, answer: true } : undefined),
      (found) => found?.mark === mark,
      () => false,
    )
  }
  checkTopicOf(entry, stream)
  return { entry, isMade: entry.ledger?.mark === mark }
}
