import type { DescribedGroup, GroupSummary } from '../../model/administration.js'
import type { From, Retention, TopicInfo, TopicSettings } from '../../model/topic.js'
import { fromToWire, settingsToWire } from '../../wire/messages.js'
import { protocolError } from '../../wire/packet.js'
import type { AdminPort } from '../admin-port.js'

type Fields = Readonly<Record<string, unknown>>

/** @param once whether what may have been done is not to be asked for again */
export type Ask = (content: Fields, what: string, once: boolean, signal: AbortSignal | undefined) => Promise<Fields>

/** Has a broker look after topics and groups. */
export class RemoteAdministration implements AdminPort {
  readonly #ask: Ask

  constructor(ask: Ask) {
    this.#ask = ask
  }

  async createTopic(topic: string, settings: TopicSettings, signal?: AbortSignal): Promise<TopicInfo> {
    const content = { op: 'create-topic', topic, settings: settingsToWire(settings) }
    return found<TopicInfo>(await this.#ask(content, `topic '${topic}' to be made`, false, signal), 'info')
  }

  async alterTopic(topic: string, retention: Retention, signal?: AbortSignal): Promise<TopicInfo> {
    const content = { op: 'alter-topic', topic, retention }
    return found<TopicInfo>(await this.#ask(content, `topic '${topic}' to be altered`, false, signal), 'info')
  }

  async deleteTopic(topic: string, force: boolean, signal?: AbortSignal): Promise<void> {
    await this.#ask({ op: 'delete-topic', topic, force }, `topic '${topic}' to be deleted`, true, signal)
  }

  async groups(topic: string, signal?: AbortSignal): Promise<GroupSummary[]> {
    const { groups } = await this.#ask({ op: 'groups', topic }, `the groups of '${topic}'`, false, signal)
    if (!Array.isArray(groups)) throw protocolError('The broker sent no list of groups.')
    return groups as GroupSummary[]
  }

  async group(topic: string, name: string, signal?: AbortSignal): Promise<DescribedGroup> {
    const content = { op: 'group', topic, group: name }
    const group = found<DescribedGroup>(
      await this.#ask(content, `group '${name}' of '${topic}'`, false, signal),
      'group',
    )
    if (!Array.isArray(group.members)) throw protocolError('The broker sent a group without members.')
    return { ...group, members: group.members.map((member) => ({ ...member, since: new Date(member.since) })) }
  }

  async resetGroup(topic: string, name: string, to: From, force: boolean, signal?: AbortSignal): Promise<number> {
    const content = { op: 'reset-group', topic, group: name, to: fromToWire(to), force }
    const { sequence } = await this.#ask(content, `group '${name}' of '${topic}' to be reset`, true, signal)
    if (typeof sequence !== 'number') throw protocolError('The broker did not say where the group is now.')
    return sequence
  }

  async deleteGroup(topic: string, name: string, force: boolean, signal?: AbortSignal): Promise<void> {
    const content = { op: 'delete-group', topic, group: name, force }
    await this.#ask(content, `group '${name}' of '${topic}' to be deleted`, true, signal)
  }
}

function found<T extends object>(reply: Fields, name: string): T {
  const value = reply[name]
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw protocolError(`The broker sent no '${name}'.`)
  return value as T
}
