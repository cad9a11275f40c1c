import { HermesError } from '../base/errors.js'
import { defaultRules } from '../model/group.js'
import { type Join, parseJoin } from '../wire/group-messages.js'
import { mostUntaken } from '../wire/group-packets.js'
import { packetType, protocolError } from '../wire/packet.js'
import { jsonPacket } from '../wire/packet-writer.js'
import type { Rights } from './access.js'
import type { ChannelOpener, OpeningSession } from './channel-opener.js'
import type { ChannelTable } from './channel-table.js'
import { MemberChannel, type MemberHost } from './member-channel.js'
import { Membership, type MembershipOf } from './membership.js'
import type { SessionHost } from './session-port.js'
import type { BrokerTopic } from './topic.js'

/** Has a client's members join their groups, or go on with the membership that they had. */
export class MemberOpener {
  readonly #host: SessionHost
  readonly #channels: ChannelTable
  readonly #opener: ChannelOpener
  readonly #session: OpeningSession
  readonly #memberHost: MemberHost

  constructor(
    host: SessionHost,
    channels: ChannelTable,
    opener: ChannelOpener,
    session: OpeningSession,
    memberHost: MemberHost,
  ) {
    this.#host = host
    this.#channels = channels
    this.#opener = opener
    this.#session = session
    this.#memberHost = memberHost
  }

  /** @throws HermesError what the client is to be told */
  async open(channel: number, fields: Readonly<Record<string, unknown>>): Promise<void> {
    const join = parseJoin(fields)
    this.#checkRights(join)
    const { memberships } = this.#host
    const { topic, group, kind, token } = join
    const identity = this.#session.identity ?? ''
    const of = { token, identity, topic, group, kind, graceMs: memberships.graceMs(join.graceMs) }
    const known = memberships.find(of)
    if (known !== undefined) {
      known.keptUntil = performance.now() + known.graceMs
      known.attached?.fail(new HermesError('FENCED', 'This member of a group has another connection by now.'))
      await this.#session.inTurn(() => this.#begin(channel, join, known, true))
      return
    }
    await this.#opener.inTopic(topic, join.settings, async (open) => {
      if (this.#opener.isGone(channel)) return
      const isAsked = !this.#host.settings.access.isOpen
      const made = await memberships.make(of, isAsked, () => this.#make(of, join, open))
      try {
        if (this.#opener.isGone(channel)) await memberships.leave(made)
        else await this.#session.inTurn(() => this.#begin(channel, join, made, false))
      } catch (error) {
        await memberships.leave(made)
        throw error
      }
    })
  }

  #checkRights({ topic, group, deadLetter }: Join): void {
    const rights = this.#session.rights as Rights
    if (!rights.mayConsume(topic, group)) throw this.#opener.denied(`join group '${group}' of`, topic)
    if (deadLetter === undefined || deadLetter === '' || deadLetter === `${topic}.dead`) return
    if (!rights.mayPublish(deadLetter)) throw this.#opener.denied('publish to', deadLetter)
  }

  async #make(of: MembershipOf, join: Join, { file }: BrokerTopic): Promise<Membership> {
    const { topic, group, kind, rules, member, from } = join
    const settings = { ...join.settings, create: false }
    await this.#host.mayMakeGroup(topic, group)
    if (kind === 'durable') {
      const leaseMs = rules.leaseMs ?? defaultRules.leaseMs
      const options = { from, leaseMs, member, create: false }
      const position = await this.#host.groups.position(topic, settings, group, options)
      return new Membership(of, { position }, file.maxPayloadBytes, { ...defaultRules, leaseMs })
    }
    const { window, upToSynced, deadLetter } = join
    const options = { kind, from, rules, window, upToSynced, deadLetter, member, create: false, hashOf: undefined }
    const consumer = await this.#host.groups.consumer(topic, settings, group, { ...options, maxInFlight: mostUntaken })
    return new Membership(of, { consumer }, file.maxPayloadBytes, consumer.rules)
  }

  #begin(channel: number, join: Join, membership: Membership, resumed: boolean): void {
    // (it is kept for its grace then)
    if (this.#opener.isGone(channel)) return
    if (membership.hasEnded) throw new HermesError('CLOSED', 'The membership has just ended: join again.')
    const { consumer, position, rules, maxPayloadBytes, settled } = membership
    if (join.settled > settled && resumed) throw protocolError('A member knows answers that it was not given.')
    if (consumer !== undefined) {
      const taken = resumed ? join.taken : 0
      membership.demand(taken, taken + join.limit - join.taken, true)
    }
    const opened = new MemberChannel(this.#memberHost, channel, this.#host.memberships, membership, settled)
    this.#channels.add(channel, opened)
    this.#session.send(
      jsonPacket(packetType.joined, channel, {
        resumed,
        rules,
        graceMs: membership.of.graceMs,
        maxPayloadBytes,
        settled,
        lost: resumed ? pairsOf(membership.lateBehind(join.settled)) : [],
        ...(position !== undefined && { committed: position.committed }),
      }),
    )
    opened.pump()
  }
}

function pairsOf(numbers: Float64Array): [number, number][] {
  return Array.from({ length: numbers.length / 2 }, (_, n) => [numbers[2 * n] as number, numbers[2 * n + 1] as number])
}
