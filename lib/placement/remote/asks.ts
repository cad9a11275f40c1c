import { abortable } from '../../base/abort.js'
import { Deferred } from '../../base/deferred.js'
import { HermesError } from '../../base/errors.js'
import { integer, own, parseError } from '../../wire/messages.js'
import { protocolError } from '../../wire/packet.js'

type Fields = Readonly<Record<string, unknown>>

interface Waiting {
  id: number
  readonly op: string
  readonly fields: Fields
  readonly answer: Deferred<Fields>
}

/** What a member asks its broker for, and has no answer to yet. The broker does each once, also if it is asked again over another connection. */
export class Asks {
  readonly #waiting = new Map<number, Waiting>()
  #next = 1
  readonly #timeoutMs: number
  readonly #send: (content: Fields) => void

  /**
   * @param timeoutMs an answer is waited for so long
   * @param send      sends the content of an ASK, if there is a connection; else `again` does
   */
  constructor(timeoutMs: number, send: (content: Fields) => void) {
    this.#timeoutMs = timeoutMs
    this.#send = send
  }

  get size(): number {
    return this.#waiting.size
  }

  /** @throws HermesError `TIMED_OUT`, `ABORTED`, and what the broker answers with */
  ask(op: string, fields: Fields, signal?: AbortSignal): Promise<Fields> {
    const id = this.#next++
    const answer = new Deferred<Fields>()
    answer.promise.catch(() => {})
    const waiting: Waiting = { id, op, fields, answer }
    this.#waiting.set(id, waiting)
    const timer = setTimeout(() => {
      answer.reject(new HermesError('TIMED_OUT', `The broker did not answer '${op}' within ${this.#timeoutMs} ms.`))
    }, this.#timeoutMs)
    this.#send(this.#content(id))
    const settled = abortable(answer.promise, signal)
    return settled.finally(() => {
      clearTimeout(timer)
      if (this.#waiting.get(waiting.id) === waiting) this.#waiting.delete(waiting.id)
    })
  }

  #content(id: number): Fields {
    const { op, fields } = this.#waiting.get(id) as Waiting
    // Maps keep the order in which ids were given out.
    const lowest = this.#waiting.keys().next().value ?? id
    return { id, done: lowest - 1, op, ...fields }
  }

  /** Takes an ANSWER. Returns an error that answers no ASK. @throws HermesError `PROTOCOL` */
  answered(content: Fields): HermesError | undefined {
    const id = integer(content, 'id', 0)
    // (undefined: given up meanwhile)
    const answer = this.#waiting.get(id)?.answer
    const error = own(content, 'error')
    if (error !== undefined && (typeof error !== 'object' || error === null))
      throw protocolError('The broker sent an error that is none.')
    if (error !== undefined) {
      const told = parseError(error as Fields)
      if (id === 0) return told
      answer?.reject(told)
    } else {
      answer?.resolve(content)
    }
    return undefined
  }

  /** The same membership, another connection. */
  again(): void {
    for (const id of this.#waiting.keys()) this.#send(this.#content(id))
  }

  /** Another membership: what has an effect once is given up with the error, the rest is asked anew. */
  anew(once: readonly string[], error: HermesError): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    this.#next = 1
    for (const waiting of all) {
      if (once.includes(waiting.op)) waiting.answer.reject(error)
      else {
        waiting.id = this.#next++
        this.#waiting.set(waiting.id, waiting)
      }
    }
  }

  fail(error: HermesError): void {
    for (const { answer } of this.#waiting.values()) answer.reject(error)
    this.#waiting.clear()
  }
}
