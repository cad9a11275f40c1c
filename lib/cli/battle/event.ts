import { enumeration, f64, u32, u53 } from '../../codec/struct/field.js'
import { struct } from '../../codec/struct/struct.js'

/** 64 bytes. All of it but the time follows from run, token and number, so that the subscriber can tell what must be there. */
export const marketEvent = struct(
  {
    /** Counts the messages of the run, from 0. */
    id: u53,
    /** When it was to be published, whatever the injector made of it: nanoseconds of the machine's monotonic clock. */
    due: f64,
    /** Counts the messages of the token, from 0. */
    number: u53,
    price: f64,
    value: f64,
    run: u32,
    token: u32,
    size: u32,
    check: u32,
    kind: enumeration(['order', 'quote']),
    side: enumeration(['buy', 'sell']),
  },
  { name: 'BattleEvent' },
)

export const eventBytes = 64

/** The same, to be written into again and again. */
export interface MarketEvent {
  id: number
  due: number
  number: number
  price: number
  value: number
  run: number
  token: number
  size: number
  check: number
  kind: 'order' | 'quote'
  side: 'buy' | 'sell'
}

/** What is published, and when. Both sides know it. */
export interface Plan {
  /** Tells the messages of this run from others in the same topic. */
  readonly run: number
  readonly tokens: number
  /** Messages per second, of all tokens together. */
  readonly perSecond: number
  readonly messages: number
  /** So many of them, the first ones, do not count for the latency. */
  readonly warmUp: number
}

/** The tokens take turns, evenly spaced in time. */
export function dueOf(id: number, { perSecond }: Plan, begun: number): number {
  return begun + (id * 1e9) / perSecond
}

export function emptyEvent(): MarketEvent {
  return {
    id: 0,
    due: 0,
    number: 0,
    price: 0,
    value: 0,
    run: 0,
    token: 0,
    size: 0,
    check: 0,
    kind: 'order',
    side: 'buy',
  }
}

/** Makes `event` the message `id` of the plan. */
export function fill(event: MarketEvent, id: number, plan: Plan, begun: number): void {
  const token = id % plan.tokens
  const number = (id - token) / plan.tokens
  const check = mixed(plan.run, token, number)
  event.id = id
  event.due = dueOf(id, plan, begun)
  event.number = number
  event.run = plan.run
  event.token = token
  event.check = check
  event.kind = (check & 1) === 0 ? 'order' : 'quote'
  event.side = (check & 2) === 0 ? 'buy' : 'sell'
  event.size = 1 + ((check >>> 2) % 1000)
  event.price = (10_000 + (check >>> 12)) / 100
  event.value = event.price * event.size
}

export function same(a: Readonly<MarketEvent>, b: Readonly<MarketEvent>): boolean {
  return (
    a.id === b.id &&
    a.due === b.due &&
    a.number === b.number &&
    a.price === b.price &&
    a.value === b.value &&
    a.run === b.run &&
    a.token === b.token &&
    a.size === b.size &&
    a.check === b.check &&
    a.kind === b.kind &&
    a.side === b.side
  )
}

/** 32 bits that differ in half of their bits when one of the three differs in one. */
function mixed(run: number, token: number, number: number): number {
  let bits = run
  for (const part of [token, number]) {
    bits = Math.imul(bits ^ part, 0x9e3779b1)
    bits ^= bits >>> 15
    bits = Math.imul(bits, 0x85ebca77)
    bits ^= bits >>> 13
  }
  return bits >>> 0
}
