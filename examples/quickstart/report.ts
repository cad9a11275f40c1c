import type { MessageView } from 'hermes-mq'
import type { OrderEvent } from './order-flow.js'

export interface ReportFacts {
  readonly received: number
  /** Every message in sequence, none missing, each equal to what was published. */
  readonly correct: boolean
  readonly seconds: number
}

/** What one subscriber saw. */
export class Report {
  received = 0
  readonly #expected: Iterator<OrderEvent>
  #correct = true
  #begun = 0

  constructor(expected: Iterable<OrderEvent>) {
    this.#expected = expected[Symbol.iterator]()
  }

  add(event: OrderEvent, message: MessageView): void {
    if (this.received === 0) this.#begun = performance.now()
    this.received++
    const wanted = this.#expected.next().value as OrderEvent
    this.#correct &&=
      message.sequence === this.received &&
      event.id === wanted.id &&
      event.symbol === wanted.symbol &&
      event.side === wanted.side &&
      event.kind === wanted.kind &&
      event.size === wanted.size &&
      event.price === wanted.price &&
      event.mid === wanted.mid
  }

  facts(): ReportFacts {
    return {
      received: this.received,
      correct: this.#correct,
      seconds: (performance.now() - this.#begun) / 1000,
    }
  }
}

export function formatReport(published: number, seconds: number, reports: readonly ReportFacts[]): string {
  const rate = (messages: number, time: number) => `${(messages / time / 1e6).toFixed(2)} million/s`
  const lines = [
    `published   ${published.toLocaleString('en')} messages, ${rate(published, seconds)}, then synced to disk`,
  ]
  reports.forEach((one, index) => {
    const share = ((100 * one.received) / published).toFixed(2)
    const order = one.correct ? 'in sequence and identical' : 'WRONG ORDER OR CONTENT'
    lines.push(
      `subscriber ${index + 1} ${one.received.toLocaleString('en')} messages, ${share} % delivered, ${order}, ${rate(one.received, one.seconds)}`,
    )
  })
  return lines.join('\n')
}
