import type { MetricsReport } from '../model/metrics.js'
import type { LocalPlacement } from '../placement/local/placement.js'

/** Who asks within this time of another gets what that one got. */
const freshMs = 200

/** Looks at the place: one look at a time, however many ask. */
export class Snapshots {
  readonly #placement: LocalPlacement
  #looking: Promise<MetricsReport> | undefined
  #last: MetricsReport | undefined
  #takenAt = 0

  constructor(placement: LocalPlacement) {
    this.#placement = placement
  }

  /** @throws HermesError what looking failed with */
  take(): Promise<MetricsReport> {
    if (this.#last !== undefined && performance.now() - this.#takenAt < freshMs) return Promise.resolve(this.#last)
    this.#looking ??= this.#placement
      .metrics()
      .then((report) => {
        this.#last = report
        this.#takenAt = performance.now()
        return report
      })
      .finally(() => {
        this.#looking = undefined
      })
    return this.#looking
  }
}
