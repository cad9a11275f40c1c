import { HermesError } from '../base/errors.js'
import { checkTopicName } from '../base/topic-name.js'
import type { DescribedGroup } from '../model/administration.js'
import type { AdminPort } from '../placement/admin-port.js'
import { flag, parseFrom, parseRetention, parseSettings, parseTopic, text } from '../wire/messages.js'
import type { Rights } from './access.js'

type Fields = Readonly<Record<string, unknown>>

const operations = [
  'create-topic',
  'alter-topic',
  'delete-topic',
  'groups',
  'group',
  'reset-group',
  'delete-group',
] as const
type Operation = (typeof operations)[number]

/** These change nothing: a client that may read a topic may look at its groups. */
const looks: readonly Operation[] = ['groups', 'group']

export function isAdministration(op: string): op is Operation {
  return operations.includes(op as Operation)
}

/**
 * Answers a request of who looks after topics and groups: docs/wire-protocol.md, "Topic administration".
 *
 * @returns what makes the answer
 * @throws HermesError `UNAUTHORIZED`, `PROTOCOL`, and what the work throws
 */
export async function administer(
  port: AdminPort,
  op: Operation,
  fields: Fields,
  rights: Rights,
): Promise<() => unknown> {
  const topic = parseTopic(fields)
  checkRight(op, topic, rights)
  switch (op) {
    case 'create-topic': {
      const info = await port.createTopic(topic, { ...parseSettings(fields), growth: 'denied' })
      return () => ({ info })
    }
    case 'alter-topic': {
      const info = await port.alterTopic(topic, parseRetention(fields))
      return () => ({ info })
    }
    case 'delete-topic':
      await port.deleteTopic(topic, flag(fields, 'force', false))
      return () => ({})
    case 'groups': {
      const groups = await port.groups(topic)
      return () => ({ groups })
    }
    case 'group': {
      const group = forWhom(await port.group(topic, parseGroup(fields)), rights)
      return () => ({ group })
    }
    case 'reset-group': {
      const to = parseFrom(fields['to'])
      const sequence = await port.resetGroup(topic, parseGroup(fields), to, flag(fields, 'force', false))
      return () => ({ sequence })
    }
    case 'delete-group':
      await port.deleteGroup(topic, parseGroup(fields), flag(fields, 'force', false))
      return () => ({})
  }
}

function checkRight(op: Operation, topic: string, rights: Rights): void {
  const mayUse = rights.mayPublish(topic) || rights.maySubscribe(topic)
  if (looks.includes(op) ? rights.maySubscribe(topic) : rights.administer && mayUse) return
  const what = looks.includes(op) ? `look at the groups of '${topic}'` : `administer '${topic}'`
  throw new HermesError('UNAUTHORIZED', `'${rights.name}' may not ${what}.`, { details: { topic } })
}

function parseGroup(fields: Fields): string {
  const name = text(fields, 'group', 300)
  checkTopicName(name, 'group')
  return name
}

/** Who the members are is for those who look after the broker. */
function forWhom(group: DescribedGroup, { administer }: Rights): DescribedGroup {
  if (administer) return group
  return { ...group, members: group.members.map((member) => ({ ...member, pid: 0, name: '' })) }
}
