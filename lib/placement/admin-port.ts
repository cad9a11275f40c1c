import type { DescribedGroup, GroupSummary } from '../model/administration.js'
import type { From, Retention, TopicInfo, TopicSettings } from '../model/topic.js'

/** What a placement with the capability `administration` offers to who looks after topics and groups. All methods throw HermesErrors. */
export interface AdminPort {
  /** Makes a topic, and sets the retention that the settings name. One that is there has to be as they say. */
  createTopic(topic: string, settings: TopicSettings, signal?: AbortSignal): Promise<TopicInfo>
  /** Replaces the retention as a whole. */
  alterTopic(topic: string, retention: Retention, signal?: AbortSignal): Promise<TopicInfo>
  /** Deletes a topic with all that belongs to it. `BUSY` while it is in use, unless forced. */
  deleteTopic(topic: string, force: boolean, signal?: AbortSignal): Promise<void>
  /** The groups of a topic, by name. */
  groups(topic: string, signal?: AbortSignal): Promise<GroupSummary[]>
  group(topic: string, name: string, signal?: AbortSignal): Promise<DescribedGroup>
  /** Goes to another place. `BUSY` while members live, unless forced. @returns the sequence */
  resetGroup(topic: string, name: string, to: From, force: boolean, signal?: AbortSignal): Promise<number>
  deleteGroup(topic: string, name: string, force: boolean, signal?: AbortSignal): Promise<void>
}
