import { Account, Population } from './account.js'

/** One client's work may take so long before it is another's turn; with many in line, as long as lets all have theirs within `cycleMs`. */
const turnMs = 1
const leastTurnMs = 0.05
const cycleMs = 30
/** What arrives is worked on at once for so long per round of the event loop; then it waits in line. */
const directMs = 2
/** The line is served for so long before the event loop looks at the sockets again. */
const roundMs = 3
/** Below this, the time spent is not worth a callback of its own to forget it. */
const noticedMs = 0.25

/** Of the thread's time, what the workers of a party, or all parties, may use before others go first. */
const partOfTime = 0.5
/** What a party may use at once. */
const partyBurstMs = 4
/** What all workers of a party may use at once. */
const workersBurstMs = 25
/** Those that have nothing to do are forgotten beyond so many. */
const mostParties = 256

/** A client whose work may have to be done in parts. */
export interface Worker {
  /** Whose it is: parties get equal shares, however many workers they have. May change between turns. */
  readonly party: string
  /** Does what there is until about `until` (of `performance.now()`), at least one step. Returns whether more is left. */
  turn(until: number): boolean
}

interface Party {
  readonly account: Account
  readonly workers: Population
  readonly waiting: Set<Worker>
}

/**
 * Shares the broker's only thread among its clients. Small work is done when it arrives; work that exceeds a turn waits in line.
 * Of those who wait, first come the parties that have used less than their share of the time lately, and of one party the workers that
 * have used the least. So the wait of a well-behaved client is bounded by a few turns, whatever others send and over however many
 * connections, and a client with hundreds of connections gets no more of the thread than a client with one.
 */
export class Scheduler {
  /** In the order of their turns. */
  readonly #parties = new Map<string, Party>()
  readonly #active = new Population()
  readonly #accounts = new WeakMap<Worker, Account>()
  /** The waiting clients, oldest first, and their lines. */
  readonly #waiting = new Map<Worker, Party>()
  #direct = 0
  #armed = false
  #inRound = false
  /** When the outermost direct turn began; 0 = none is under way. */
  #begun = 0
  /** What turns within the present one have taken. */
  #within = 0

  /** Whether no client waits. */
  get isIdle(): boolean {
    return this.#waiting.size === 0
  }

  /** Lets the worker work now if there is time for it, else puts it in line. Returns whether it has worked. */
  offer(worker: Worker): boolean {
    if (this.#waiting.has(worker)) return false
    const now = performance.now()
    const used = this.#begun === 0 ? this.#direct : this.#direct + now - this.#begun
    if (this.#inRound || used >= directMs || (used > noticedMs && !this.isIdle && !this.#isFrugal(worker, now))) {
      this.#enqueue(worker)
      return false
    }
    const outermost = this.#begun === 0
    if (outermost) this.#begun = now
    let more = false
    try {
      more = this.#serve(worker, now)
    } finally {
      if (outermost) {
        this.#direct += performance.now() - this.#begun
        this.#begun = 0
      }
    }
    if (more) this.#enqueue(worker)
    else if (outermost && this.#direct > noticedMs) this.#arm()
    return true
  }

  /** Puts the worker in line. */
  queue(worker: Worker): void {
    if (!this.#waiting.has(worker)) this.#enqueue(worker)
  }

  remove(worker: Worker): void {
    this.#waiting.get(worker)?.waiting.delete(worker)
    this.#waiting.delete(worker)
  }

  #enqueue(worker: Worker): void {
    const party = this.#party(worker.party)
    party.waiting.add(worker)
    this.#waiting.set(worker, party)
    this.#arm()
  }

  #party(name: string): Party {
    let party = this.#parties.get(name)
    if (party === undefined) {
      party = { account: new Account(), workers: new Population(), waiting: new Set() }
      this.#parties.set(name, party)
    }
    return party
  }

  #account(worker: Worker): Account {
    let account = this.#accounts.get(worker)
    if (account === undefined) {
      account = new Account()
      this.#accounts.set(worker, account)
    }
    return account
  }

  /** Whether the worker has used less than its share of what its party may use. */
  #isFrugal(worker: Worker, now: number): boolean {
    const many = this.#party(worker.party).workers.count(now)
    return this.#account(worker).balance(now, partOfTime / many, Math.min(turnMs, workersBurstMs / many)) > 0
  }

  /** One turn, and what it has cost. */
  #serve(worker: Worker, begin: number): boolean {
    const outer = this.#within
    this.#within = 0
    try {
      // With many in line each has less.
      return worker.turn(begin + Math.max(leastTurnMs, Math.min(turnMs, cycleMs / this.#waiting.size)))
    } finally {
      const now = performance.now()
      const took = now - begin
      const own = took - this.#within
      this.#within = outer + took
      const party = this.#party(worker.party)
      const account = this.#account(worker)
      party.workers.note(account, now)
      this.#active.note(party.account, now)
      account.charge(own)
      party.account.charge(own)
    }
  }

  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    setImmediate(() => {
      this.#armed = false
      this.#round()
    })
  }

  #round(): void {
    this.#direct = 0
    this.#within = 0
    this.#inRound = true
    const begin = performance.now()
    const end = begin + roundMs
    try {
      const oldest = this.#waiting.keys().next().value
      for (let now = begin; !this.isIdle && now < end; now = performance.now()) this.#turn(this.#next(now), now)
      // The client that has waited for longest is also served, whatever it has used.
      if (oldest !== undefined && this.#waiting.has(oldest)) this.#turn(oldest, performance.now())
    } finally {
      this.#inRound = false
      this.#forgetParties()
    }
    if (!this.isIdle) this.#arm()
  }

  #turn(worker: Worker, now: number): void {
    this.remove(worker)
    if (this.#serve(worker, now)) this.#enqueue(worker)
  }

  /** Of the first party that has not used up its share, else of the one that has used the least. REQUIRES: a client waits. */
  #next(now: number): Worker {
    const rate = partOfTime / this.#active.count(now)
    let found: Party | undefined
    let name = ''
    let most = Number.NEGATIVE_INFINITY
    for (const [one, party] of this.#parties) {
      if (party.waiting.size === 0) continue
      const balance = party.account.balance(now, rate, partyBurstMs)
      if (balance <= most) continue
      found = party
      name = one
      most = balance
      if (balance > 0) break
    }
    const party = found as Party
    // Behind the others.
    this.#parties.delete(name)
    this.#parties.set(name, party)
    return this.#nextOf(party, now)
  }

  #nextOf({ waiting, workers }: Party, now: number): Worker {
    const many = workers.count(now)
    const rate = partOfTime / many
    const burst = Math.min(turnMs, workersBurstMs / many)
    let found: Worker | undefined
    let most = Number.NEGATIVE_INFINITY
    for (const worker of waiting) {
      if (waiting.size === 1) return worker
      const balance = this.#account(worker).balance(now, rate, burst)
      if (balance <= most) continue
      found = worker
      most = balance
      if (balance > 0) break
    }
    return found as Worker
  }

  /** There may be as many as addresses. */
  #forgetParties(): void {
    if (this.#parties.size <= mostParties) return
    for (const [name, { waiting }] of this.#parties) if (waiting.size === 0) this.#parties.delete(name)
  }
}
