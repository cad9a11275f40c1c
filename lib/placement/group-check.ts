import { HermesError } from '../base/errors.js'
import type { GroupReport, GroupRules } from '../model/group.js'
import type { ConsumerOptions } from './consumer-port.js'

/** @throws HermesError `CONFIG_MISMATCH`, which names the first setting that differs */
export function checkSameGroup(
  topic: string,
  name: string,
  found: Pick<GroupReport, 'kind' | 'window' | 'upToSynced'> & GroupRules,
  deadLetter: string,
  { kind, rules, window, upToSynced, deadLetter: wanted }: ConsumerOptions,
): void {
  const pairs: [string, unknown, unknown][] = [
    ['kind', found.kind, kind],
    ['window', found.window, window],
    [
      'upTo',
      found.upToSynced ? 'synced' : 'written',
      upToSynced === undefined ? undefined : upToSynced ? 'synced' : 'written',
    ],
    ['deadLetter', deadLetter, wanted],
    ['maxDeliveries', found.maxDeliveries, rules.maxDeliveries],
    ['leaseMs', found.leaseMs, rules.leaseMs],
    ['backoffMs', found.backoffMs, rules.backoffMs],
    ['maxBackoffMs', found.maxBackoffMs, rules.maxBackoffMs],
    ['key', keyText(found.key), rules.key === undefined ? undefined : keyText(rules.key)],
  ]
  if (found.kind === 'durable') {
    throw new HermesError(
      'CONFIG_MISMATCH',
      `'${name}' is a durable subscription of topic '${topic}', and no group: open it with topic.subscriber({ name }), or choose another name.`,
      { details: { topic, group: name, setting: 'kind', found: 'durable', wanted: kind } },
    )
  }
  for (const [setting, own, asked] of pairs) {
    if (asked === undefined || own === asked) continue
    throw new HermesError(
      'CONFIG_MISMATCH',
      `Group '${name}' of topic '${topic}' was made with ${setting} ${String(own) || 'none'}, not ${String(asked) || 'none'}. Leave the option out, or use another group.`,
      { details: { topic, group: name, setting, found: own, wanted: asked } },
    )
  }
}

function keyText(key: GroupRules['key']): string {
  return key === undefined ? 'of the program' : `bytes ${key.offset} to ${key.offset + key.bytes - 1}`
}

/** What is reported once, by a process that opens the group or has it open. */
export function positionLost(topic: string, group: string, { from, to }: { from: number; to: number }): HermesError {
  return new HermesError(
    'POSITION_LOST',
    `Topic '${topic}' has lost the messages ${from} to ${to - 1}, which group '${group}' had reached, and will use these sequences again. Go on: no message that is there is skipped.`,
    { details: { topic, group, from, to } },
  )
}
