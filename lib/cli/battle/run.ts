import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { HermesError } from '../../base/errors.js'
import type { Wait } from '../../client/wait.js'
import type { Durability } from '../../model/topic.js'
import { monotonicNs } from './clock.js'
import { dueOf, type Plan } from './event.js'
import type { Answer, BrokerOutcome, Failure, InjectorOutcome, Order, SubscriberOutcome, Task } from './task.js'

const worker = new URL('./worker.js', import.meta.url)
/** From the start signal to the first message, so that every process has received it. */
const leadNs = 50e6
const watchMs = 200

export interface BattleSettings {
  /** Where the topic is; `undefined` for a broker of the battle's own. */
  readonly place: string | undefined
  /** What that broker serves. */
  readonly dir: string
  readonly topic: string
  readonly plan: Plan
  readonly durability: Durability
  readonly wait: Wait
  /** Of a topic that is made for the battle. */
  readonly retainBytes: number
  /** If no message moves for so long, no more are waited for. */
  readonly stallTimeoutMs: number
  /** Comes to an early end in order. */
  readonly signal: AbortSignal
  readonly onProgress: (received: number) => void
}

export interface BattleOutcome {
  readonly place: string
  readonly injector: InjectorOutcome
  readonly subscriber: SubscriberOutcome
  readonly broker: BrokerOutcome | null
  /** No message moved any more. */
  readonly stalled: boolean
}

/**
 * Runs a battle in processes of its own, none of which outlives this call. `undefined` if the signal fires before it has begun.
 *
 * @throws HermesError what keeps one of them from opening what it needs
 */
export async function runBattle(settings: BattleSettings): Promise<BattleOutcome | undefined> {
  const { topic, plan, durability, wait, retainBytes, signal } = settings
  const members: Member<unknown>[] = []
  const killAll = () => {
    for (const member of members) member.kill()
  }
  // Also when the process is told to end at once; before anything else that is done then, such as removing the broker's folder.
  process.prependOnceListener('exit', killAll)
  signal.addEventListener('abort', killAll, { once: true })
  const start = async <Outcome>(task: Task): Promise<Member<Outcome>> => {
    const member = new Member<Outcome>(task)
    members.push(member)
    await member.ready
    return member
  }
  let isBegun = false
  try {
    signal.throwIfAborted()
    const broker =
      settings.place === undefined ? await start<BrokerOutcome>({ role: 'broker', dir: settings.dir }) : undefined
    const place = settings.place ?? (broker?.url as string)
    // The subscriber comes first: it begins with what is published after it.
    const common = { place, topic, plan }
    const subscriber = await start<SubscriberOutcome>({ role: 'subscriber', ...common, wait, retainBytes })
    const injector = await start<InjectorOutcome>({ role: 'injector', ...common, durability })
    signal.throwIfAborted()
    signal.removeEventListener('abort', killAll)
    isBegun = true
    return { place, ...(await fight(settings, injector, subscriber, broker)) }
  } catch (error) {
    if (signal.aborted && !isBegun) return undefined
    throw error
  } finally {
    signal.removeEventListener('abort', killAll)
    process.off('exit', killAll)
    killAll()
    await Promise.all(members.map(({ exited }) => exited))
  }
}

async function fight(
  { plan, signal, stallTimeoutMs, onProgress }: BattleSettings,
  injector: Member<InjectorOutcome>,
  subscriber: Member<SubscriberOutcome>,
  broker: Member<BrokerOutcome> | undefined,
): Promise<Omit<BattleOutcome, 'place'>> {
  const begin = monotonicNs() + leadNs
  for (const member of [subscriber, injector, broker]) member?.tell({ begin })
  let isInjecting = true
  const end = () => {
    isInjecting = false
    injector.tell({ end: 0 })
  }
  if (signal.aborted) end()
  signal.addEventListener('abort', end, { once: true })
  // A subscriber that has failed needs no more messages.
  void subscriber.outcome.then(end, () => undefined)

  let stalled = false
  let moved = performance.now()
  let received = 0
  const watch = setInterval(() => {
    const sent = injector.progress
    // To wait is in order only where everything has arrived and the next message is not due. (A publisher may accept messages for a
    // broker that is gone: that is no movement.)
    const mayWait = isInjecting && sent === received && monotonicNs() < dueOf(sent, plan, begin)
    if (mayWait || subscriber.progress !== received) moved = performance.now()
    received = subscriber.progress
    onProgress(received)
    const ms = performance.now() - moved
    if (ms < stallTimeoutMs) return
    stalled = true
    for (const member of [injector, subscriber]) {
      if (ms < 2 * stallTimeoutMs) member.tell({ stop: true })
      else member.kill()
    }
  }, watchMs)
  // The others need not be waited for when one has died.
  const died = Promise.race([injector, subscriber, ...(broker === undefined ? [] : [broker])].map(({ died }) => died))
  try {
    const injection = await Promise.race([injector.outcome, died])
    subscriber.tell({ end: injection.sent })
    const reception = await Promise.race([subscriber.outcome, died])
    broker?.tell({ end: 0 })
    const service = await Promise.race([broker?.outcome ?? null, died])
    return { injector: injection, subscriber: reception, broker: service, stalled }
  } finally {
    clearInterval(watch)
    signal.removeEventListener('abort', end)
  }
}

/** A process of the battle, as its parent sees it. */
class Member<Outcome> {
  /** Resolves once it has opened everything. */
  readonly ready: Promise<void>
  readonly outcome: Promise<Outcome>
  /** Rejects if it ends without an outcome. */
  readonly died: Promise<never>
  readonly exited: Promise<unknown>
  url: string | undefined
  progress = 0
  readonly #child: ChildProcess

  constructor(task: Task) {
    const child = fork(worker, [JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] })
    this.#child = child
    this.exited = once(child, 'exit').catch(() => undefined)
    let resolveReady = () => {}
    let resolveOutcome: (outcome: Outcome) => void = () => {}
    const ready = new Promise<void>((resolve) => {
      resolveReady = resolve
    })
    const outcome = new Promise<Outcome>((resolve) => {
      resolveOutcome = resolve
    })
    this.died = new Promise<never>((_, reject) => {
      child.on('message', (answer: Answer<Outcome>) => {
        if ('ready' in answer) {
          this.url = answer.url
          resolveReady()
        } else if ('progress' in answer) {
          this.progress = answer.progress
        } else if ('outcome' in answer) {
          resolveOutcome(answer.outcome)
        } else {
          reject(failureError(answer.error))
        }
      })
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        const how = `The battle's ${task.role} ended with ${signal ?? code} before it had reported.`
        reject(new HermesError('IO_FAILED', how, { details: { role: task.role } }))
      })
    })
    // A failure before it is awaited must not end this process.
    this.died.catch(() => undefined)
    this.ready = Promise.race([ready, this.died])
    this.ready.catch(() => undefined)
    this.outcome = Promise.race([outcome, this.died])
    this.outcome.catch(() => undefined)
  }

  tell(order: Order): void {
    if (this.#child.connected) this.#child.send(order, () => undefined)
  }

  kill(): void {
    this.#child.kill('SIGKILL')
  }
}

/** The failure of another process, as an error of this one. */
export function failureError({ code, message }: Failure): Error {
  return code === undefined ? new Error(message) : new HermesError(code, message)
}
