import { type Counts, countsOf, type Rates, type Report, ratesOf } from './report.js'

/** Looks that are remembered: ten minutes of one each second. */
const most = 600

/** What the last looks have found, of one topic or of all together. */
export class History {
  readonly topic: string | undefined
  readonly times: number[] = []
  readonly rates: Rates[] = []
  readonly lags: number[] = []
  #before: { readonly counts: Counts; readonly atMs: number } | undefined

  constructor(topic: string | undefined) {
    this.topic = topic
  }

  add(report: Report): void {
    const counts = countsOf(report, this.topic)
    const atMs = report.takenMs
    if (this.#before !== undefined && atMs <= this.#before.atMs) return
    if (this.#before !== undefined) {
      this.times.push(atMs / 1000)
      this.rates.push(ratesOf(this.#before.counts, counts, (atMs - this.#before.atMs) / 1000))
      this.lags.push(lagOf(report, this.topic))
      for (const list of [this.times, this.rates, this.lags]) if (list.length > most) list.shift()
    }
    this.#before = { counts, atMs }
  }

  line(name: keyof Rates): (number | null)[] {
    return this.rates.map((rates) => rates[name])
  }

  get last(): Rates | undefined {
    return this.rates.at(-1)
  }
}

/** Messages that groups, durable subscriptions and local subscribers have before them. */
export function lagOf({ groups, subscribers }: Report, topic: string | undefined): number {
  const ofTopic = (one: { readonly topic: string }) => topic === undefined || one.topic === topic
  return [...groups, ...subscribers].filter(ofTopic).reduce((sum, { lag }) => sum + lag, 0)
}
