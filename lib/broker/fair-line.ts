/** Those who wait for something, by whose they are: each party has its turn, however many it has in line. */
export class FairLine<Waiting> {
  /** In the order of their turns; each in the order of coming. */
  readonly #parties = new Map<string, Set<Waiting>>()

  push(party: string, waiting: Waiting): void {
    const others = this.#parties.get(party)
    if (others === undefined) this.#parties.set(party, new Set([waiting]))
    else others.add(waiting)
  }

  /** Takes the next one out. `undefined` if the line is empty. */
  shift(): Waiting | undefined {
    const next = this.#parties.entries().next().value
    if (next === undefined) return undefined
    const [party, all] = next
    const [first] = all
    all.delete(first as Waiting)
    // Behind the others.
    this.#parties.delete(party)
    if (all.size > 0) this.#parties.set(party, all)
    return first
  }
}
