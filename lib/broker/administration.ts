import type { DescribedGroup, GroupSummary } from '../model/administration.js'
import type { From, Retention, TopicInfo, TopicSettings } from '../model/topic.js'
import type { AdminPort } from '../placement/admin-port.js'
import type { TopicTable } from './topic-table.js'

/** Looks after the topics of the directory that a broker serves. What the broker itself has open of a topic is closed before the topic is deleted. */
export class BrokerAdministration implements AdminPort {
  readonly #local: AdminPort
  readonly #topics: TopicTable
  readonly #info: (topic: string) => Promise<TopicInfo>

  constructor(local: AdminPort, topics: TopicTable, info: (topic: string) => Promise<TopicInfo>) {
    this.#local = local
    this.#topics = topics
    this.#info = info
  }

  async createTopic(topic: string, settings: TopicSettings): Promise<TopicInfo> {
    // As the broker opens it for a publisher: not while it is being deleted, and never larger than it can serve.
    const held = await this.#topics.hold(topic, { ...settings, create: true })
    try {
      await held.setRetention(settings)
    } finally {
      held.release()
    }
    return this.#info(topic)
  }

  alterTopic(topic: string, retention: Retention): Promise<TopicInfo> {
    return this.#local.alterTopic(topic, retention)
  }

  deleteTopic(topic: string, force: boolean): Promise<void> {
    return this.#topics.remove(topic, force, () => this.#local.deleteTopic(topic, force))
  }

  groups(topic: string): Promise<GroupSummary[]> {
    return this.#local.groups(topic)
  }

  group(topic: string, name: string): Promise<DescribedGroup> {
    return this.#local.group(topic, name)
  }

  resetGroup(topic: string, name: string, to: From, force: boolean): Promise<number> {
    return this.#local.resetGroup(topic, name, to, force)
  }

  deleteGroup(topic: string, name: string, force: boolean): Promise<void> {
    return this.#local.deleteGroup(topic, name, force)
  }
}
