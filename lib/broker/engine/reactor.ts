import { getSystemErrorName } from 'node:util'
import { HermesError } from '../../base/errors.js'
import { native } from '../../native/addon.js'
import { callNative, fromNative } from '../../native/error.js'
import { type NativeReactor, type NativeReactorClass, outcome, reactorLayout } from '../../native/reactor-types.js'
import { readBytes } from './engine.js'

const mostEvents = 64

/** What arrives on any connection is read into this one buffer, and has been taken from it before anything else is read. */
let shared: Buffer | undefined

/** A native reactor, and the memory through which it answers. */
export class Reactor {
  readonly calls: NativeReactor
  readonly buffer: Buffer
  readonly #words: Int32Array
  readonly #numbers: Float64Array
  readonly #events: Uint32Array

  /**
   * @param ready called by the event loop when there may be events
   * @throws HermesError `UNSUPPORTED` if there is none here, `LIMIT` if the system gives no descriptor for it
   */
  constructor(ready: () => void) {
    const made = reactorClass()
    shared ??= Buffer.allocUnsafeSlow(readBytes)
    this.buffer = shared
    const scratch = new ArrayBuffer(reactorLayout.size)
    const events = new ArrayBuffer(mostEvents * 8)
    this.#words = new Int32Array(scratch)
    this.#numbers = new Float64Array(scratch)
    this.#events = new Uint32Array(events)
    this.calls = callNative(() => new made(scratch, events, this.buffer.buffer as ArrayBuffer, ready))
  }

  /** Why there can be none here and now; `undefined` if there can. */
  static obstacle(): HermesError | undefined {
    try {
      new Reactor(() => {}).calls.close()
      return undefined
    } catch (error) {
      const known = fromNative(error)
      if (known instanceof HermesError) return known
      throw error
    }
  }

  /** Of the last call. */
  get outcome(): number {
    return this.#words[reactorLayout.outcome / 4] as number
  }

  get error(): number {
    return this.#words[reactorLayout.error / 4] as number
  }

  get key(): number {
    return this.#words[reactorLayout.key / 4] as number
  }

  get descriptor(): number {
    return this.#words[reactorLayout.descriptor / 4] as number
  }

  get bytes(): number {
    return this.#numbers[reactorLayout.bytes / 8] as number
  }

  get waiting(): number {
    return this.#numbers[reactorLayout.waiting / 8] as number
  }

  /** Whether both directions of the connection are over. */
  get isOver(): boolean {
    return this.#words[reactorLayout.over / 4] !== 0
  }

  eventKey(index: number): number {
    return this.#events[2 * index] as number
  }

  eventWhat(index: number): number {
    return this.#events[2 * index + 1] as number
  }

  /** What the last call failed with, in Node's words. */
  failure(doing: string): string | undefined {
    return this.outcome === outcome.failed ? `${doing} ${errorName(this.error)}` : undefined
  }
}

export function errorName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : 'failed'
}

function reactorClass(): NativeReactorClass {
  const made = native.Reactor
  const fits =
    made !== undefined &&
    Object.entries(reactorLayout).every(([field, at]) => made.layout[field] === at) &&
    Object.keys(made.layout).length === Object.keys(reactorLayout).length
  if (made === undefined || !fits) {
    throw new HermesError(
      'UNSUPPORTED',
      "The native addon here has no network engine of this version. Build it (npm run build:native), or take the engine 'node'.",
    )
  }
  return made
}
