import { ascii, f64, struct, u53 } from 'hermes-mq'

// For bench/peers: by its package.json that folder is another package, from which the name of this one leads nowhere.
export type { Region } from 'hermes-mq'

/** What every workload carries: eight fields in 64 bytes. */
export const Quote = struct({
  id: u53,
  time: f64,
  symbol: ascii(8),
  size: u53,
  price: f64,
  bid: f64,
  ask: f64,
  vwap: f64,
})

export const messageBytes = 64
/** Bytes in the log: the frame's header and the message. */
export const frameBytes = 32 + messageBytes

export interface QuoteFields {
  id: number
  time: number
  symbol: string
  size: number
  price: number
  bid: number
  ask: number
  vwap: number
}

const symbols = ['AAPL', 'MSFT', 'NVDA', 'AMZN', 'BTC-USD', 'ETH-USD', 'X', 'LONGNAME']
const poolSize = 1024

/**
 * Messages made before the clock runs. What message `id` says follows from `id`: the fields of `pool[id % 1024]`, and
 * the id itself, which the publisher writes into the object before it publishes it.
 */
export class QuotePool {
  readonly #quotes: QuoteFields[] = Array.from({ length: poolSize }, (_, index) => ({
    id: index,
    time: index * 1000 + 0.5,
    symbol: symbols[index % symbols.length] as string,
    size: 100 * (1 + index),
    price: 100 + index / 7,
    bid: 99.5 + index / 7,
    ask: 100.5 + index / 7,
    vwap: 100 + index / 9,
  }))

  /** Message `id`, valid until the pool comes round to it again. */
  at(id: number): QuoteFields {
    const quote = this.#quotes[id % poolSize] as QuoteFields
    quote.id = id
    return quote
  }

  /** Messages `first`, `first + 1`, … into `batch`, as many as it holds. */
  fill(batch: QuoteFields[], first: number): void {
    for (let i = 0; i < batch.length; i++) batch[i] = this.at(first + i)
  }
}

/** Checks that messages come complete, in order and with their content. A figure from a run that it refused is never printed. */
export class QuoteChecker {
  /** Messages seen. */
  count = 0
  readonly #pool = new QuotePool()
  readonly #timed: boolean

  /** @param timed the messages carry a clock reading in `time`, which can't be known beforehand */
  constructor(timed = false) {
    this.#timed = timed
  }

  check(quote: Readonly<QuoteFields>, sequence: number): void {
    const id = ++this.count
    const wanted = this.#pool.at(id)
    if (
      sequence !== id ||
      quote.id !== id ||
      quote.symbol !== wanted.symbol ||
      quote.size !== wanted.size ||
      quote.price !== wanted.price ||
      quote.bid !== wanted.bid ||
      quote.ask !== wanted.ask ||
      quote.vwap !== wanted.vwap ||
      (quote.time !== wanted.time && !this.#timed)
    ) {
      throw new Error(`message ${id} arrived as ${quote.id} with sequence ${sequence} and ${JSON.stringify(quote)}`)
    }
  }

  /** Checks the number of messages at the end of a run. */
  expect(count: number): void {
    if (this.count !== count) throw new Error(`${this.count} messages arrived, not ${count}`)
  }
}

if (Quote.maxBytes !== messageBytes) throw new Error(`the benchmark's message has ${Quote.maxBytes} bytes`)
