/** Debts are forgotten beyond so many times what may be used at once. */
const mostDebts = 20

/** What a client has used of the thread's time, against what is due to it: a bucket that fills with time and may be overdrawn. */
export class Account {
  /** (full, whatever that is) */
  #balance = 1e9
  #at = 0
  /** Of the population that has counted it last. */
  countedIn = -1

  /** What is left, in milliseconds: `rate` of the time since the last look is added, up to `most`. */
  balance(now: number, rate: number, most: number): number {
    const filled = Math.max(this.#balance, -mostDebts * most) + (now - this.#at) * rate
    this.#balance = Math.min(most, filled)
    this.#at = now
    return this.#balance
  }

  charge(ms: number): void {
    this.#balance -= ms
  }
}

const windowMs = 100

/** How many were active lately. */
export class Population {
  #window = 0
  #now = 0
  #before = 0

  note(account: Account, now: number): void {
    this.#turn(now)
    if (account.countedIn === this.#window) return
    account.countedIn = this.#window
    this.#now++
  }

  /** At least 1. */
  count(now: number): number {
    this.#turn(now)
    return Math.max(1, this.#now, this.#before)
  }

  #turn(now: number): void {
    const window = Math.floor(now / windowMs)
    if (window === this.#window) return
    this.#before = window === this.#window + 1 ? this.#now : 0
    this.#now = 0
    this.#window = window
  }
}
