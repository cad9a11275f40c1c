/* What a soak of a group's members has shown: the notes of all of them against what is promised. */

export interface Note {
  readonly what: 'got' | 'settling' | 'settled' | 'returning' | 'returned' | 'failed'
  /** A process of a member: one that is started again after a kill is another one. */
  readonly instance: string
  readonly n: number
  readonly key: string
  readonly sequence: number
  readonly deliveries: number
  /** Monotonic, nanoseconds: all processes have the same clock. */
  readonly at: number
  readonly code?: string
}

/** When a process was killed. */
export interface Kill {
  readonly instance: string
  readonly at: number
}

/** How one handling of a message has ended. */
interface Handling {
  readonly got: Note
  last: Note
}

/** A handling that did not end with a note of success may have been taken away; these say that it was. */
const taken: ReadonlySet<string> = new Set(['LEASE_LOST', 'CONNECTION_FAILED', 'CLOSED'])

/**
 * Everything that is wrong, in sentences; nothing if the promises hold.
 *
 * - nothing unsettled is lost: each message was settled, or its settlement was under way when its member was killed, or lost its connection
 * - nothing is settled twice
 * - a message is handled again only if whoever had it was killed, was told that it had lost it, or had returned it
 * - of a process that was killed no more messages come again than it may hold
 * - keyed: the messages of one key are settled in their order
 */
export function judge(
  messages: number,
  notes: readonly Note[],
  kills: readonly Kill[],
  { keyed, maxInFlight }: { readonly keyed: boolean; readonly maxInFlight: number },
): string[] {
  const wrong: string[] = []
  const killed = new Set(kills.map(({ instance }) => instance))
  const byMessage = handlingsOf(notes)
  const unfinished = new Map<string, number>()
  for (let n = 0; n < messages; n++) {
    const handlings = byMessage.get(n) ?? []
    const settled = handlings.filter(({ last }) => last.what === 'settled')
    if (settled.length > 1)
      wrong.push(`message ${n} was settled twice: ${settled.map(({ got }) => got.instance).join(', ')}`)
    const perhaps = handlings.filter(
      ({ last }) => (last.what === 'settling' && killed.has(last.instance)) || last.code === 'CONNECTION_FAILED',
    )
    if (settled.length === 0 && perhaps.length === 0) wrong.push(`message ${n} was never settled`)
    // (who was overtaken may begin, with what it had claimed ahead, when another one has ended: it is told then)
    const ordered = [...handlings].sort((a, b) => a.got.deliveries - b.got.deliveries || a.got.at - b.got.at)
    for (const { got, last } of ordered.slice(0, -1)) {
      const isDead = killed.has(got.instance) && last.what !== 'settled' && last.what !== 'returned'
      const isTold = last.what === 'failed' && taken.has(last.code ?? '')
      if (isDead) unfinished.set(got.instance, (unfinished.get(got.instance) ?? 0) + 1)
      if (!isDead && !isTold && last.what !== 'returned')
        wrong.push(
          `message ${n} came again after ${got.instance}, which had it, was neither killed nor told: ${last.what}`,
        )
    }
  }
  for (const [instance, count] of unfinished) {
    if (count > maxInFlight) wrong.push(`${count} messages came again of ${instance}, which may hold ${maxInFlight}`)
  }
  if (keyed) wrong.push(...outOfOrder(byMessage))
  return wrong
}

function handlingsOf(notes: readonly Note[]): Map<number, Handling[]> {
  const byMessage = new Map<number, Handling[]>()
  const open = new Map<string, Handling>()
  for (const note of notes) {
    const id = `${note.instance} ${note.n} ${note.deliveries}`
    const known = open.get(id)
    if (note.what !== 'got') {
      if (known !== undefined) known.last = note
      continue
    }
    // (a message that had not counted as delivered may come with the same count to the same process)
    const handling = { got: note, last: note }
    open.set(id, handling)
    const list = byMessage.get(note.n) ?? []
    byMessage.set(note.n, list)
    list.push(handling)
  }
  return byMessage
}

/** By the time at which the handling began that was settled. */
function outOfOrder(byMessage: ReadonlyMap<number, readonly Handling[]>): string[] {
  const wrong: string[] = []
  const lastOf = new Map<string, Note>()
  for (const n of [...byMessage.keys()].sort((a, b) => a - b)) {
    const got = byMessage.get(n)?.find(({ last }) => last.what === 'settled')?.got
    if (got === undefined) continue
    const before = lastOf.get(got.key)
    if (before !== undefined && got.at < before.at)
      wrong.push(`key ${got.key}: message ${n} (${got.instance}) was handled before ${before.n} (${before.instance})`)
    lastOf.set(got.key, got)
  }
  return wrong
}

/** How long after each kill the last message that the process had left unfinished was with another one, in ms. */
export function handOverMs(notes: readonly Note[], kills: readonly Kill[]): Map<string, number> {
  const byMessage = handlingsOf(notes)
  const times = new Map<string, number>()
  for (const { instance, at } of kills) {
    for (const handlings of byMessage.values()) {
      const own = handlings.find(({ got, last }) => got.instance === instance && last.what === 'got')
      const next = handlings
        .filter(({ got }) => got.instance !== instance && got.at > at)
        .sort((a, b) => a.got.at - b.got.at)[0]
      if (own === undefined || next === undefined) continue
      times.set(instance, Math.max(times.get(instance) ?? 0, (next.got.at - at) / 1e6))
    }
  }
  return times
}
