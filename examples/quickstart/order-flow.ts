import { ascii, enumeration, f64, struct, u32, u53 } from 'hermes-mq'

/** What the topic carries: 48 bytes, laid out once, read in place. */
export const Orders = struct({
  id: u53,
  symbol: ascii(8),
  side: enumeration(['buy', 'sell']),
  kind: enumeration(['add', 'cancel', 'trade']),
  size: u32,
  price: f64,
  mid: f64,
})

export interface OrderEvent {
  readonly id: number
  readonly symbol: string
  readonly side: 'buy' | 'sell'
  readonly kind: 'add' | 'cancel' | 'trade'
  readonly size: number
  readonly price: number
  readonly mid: number
}

const symbols = ['AAPL', 'MSFT', 'NVDA', 'AMZN', 'BTC-USD', 'ETH-USD']

/** A small fast generator of random numbers in [0, 1): mulberry32 (Tommy Ettinger, 2017). The same seed gives the same flow. */
function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Orders around a price that walks at random, in cents: mostly additions and cancellations, one event in ten a trade. */
export function* orderFlow(count: number, seed: number): Generator<OrderEvent> {
  const next = random(seed)
  const mids = symbols.map((_, index) => 10_000 * (index + 1))
  for (let id = 1; id <= count; id++) {
    const which = Math.floor(next() * symbols.length)
    const mid = Math.max(100, (mids[which] as number) + Math.floor(next() * 3) - 1)
    mids[which] = mid
    const side = next() < 0.5 ? 'buy' : 'sell'
    const draw = next()
    const kind = draw < 0.1 ? 'trade' : draw < 0.55 ? 'add' : 'cancel'
    const away = kind === 'trade' ? 0 : Math.floor(next() * next() * 50)
    const price = (mid + (side === 'buy' ? -away : away)) / 100
    yield {
      id,
      symbol: symbols[which] as string,
      side,
      kind,
      size: 100 * (1 + Math.floor(next() * 10)),
      price,
      mid: mid / 100,
    }
  }
}
