import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import type { TopicSettings } from '../../model/topic.js'
import { type Join, joinToWire } from '../../wire/group-messages.js'
import { settingsToWire } from '../../wire/messages.js'
import { packetType } from '../../wire/packet.js'
import { jsonPacket } from '../../wire/packet-writer.js'
import { closePacket, type Link } from './link.js'

/** How long a member waits for the broker to confirm that it has left. */
const leaveMs = 5000

/** What the topic is, and how much of it is kept, is for its publishers to say. */
export function joiningSettings(settings: TopicSettings, create: boolean): TopicSettings {
  return create ? { ...settings, create } : { ...settings, create, retention: undefined }
}

/** Who will not reconnect has no use for a grace. */
export function sendJoin(link: Link, channel: number, join: Omit<Join, 'graceMs'>): void {
  const graceMs = link.settings.reconnect === undefined ? 0 : undefined
  const content = joinToWire({ ...join, graceMs }, settingsToWire(join.settings))
  link.send(jsonPacket(packetType.join, channel, content))
}

/** A member's way out. */
export class Leaving {
  #confirmed: Deferred<void> | undefined

  /** Says that the member leaves; resolves once the broker has confirmed it, or will not. */
  async leave(link: Link, channel: number): Promise<void> {
    const confirmed = new Deferred<void>()
    this.#confirmed = confirmed
    const timer = setTimeout(confirmed.resolve, leaveMs)
    link.send(closePacket(channel))
    await confirmed.promise
    clearTimeout(timer)
  }

  confirm(): void {
    this.#confirmed?.resolve()
  }
}

/** Of settlements that were sent and not answered by a membership that is over. */
export function uncertain(topic: string, group: string): HermesError {
  return new HermesError(
    'CONNECTION_FAILED',
    `The connection was lost, and was not there again before the grace of this member of group '${group}' was over: whether what it settled last is settled is not known. If not, another member has it.`,
    { details: { topic, group } },
  )
}

/** For clients without permission to look at it. */
export function rejected(error: HermesError): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}
