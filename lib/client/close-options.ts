import { mostTimeoutMs, onAbort } from '../base/abort.js'
import { checkInteger, checkOptions, invalid, isSignal, show } from '../base/options.js'

export interface CloseOptions {
  /** Ends the wait for what is not acknowledged: `close` then rejects with `ABORTED`. One that has fired already: don't wait at all. */
  readonly signal?: AbortSignal | undefined
  /** Waits so many milliseconds at most, then rejects with `TIMED_OUT`: 0 to 3,600,000. Default 30,000 if something is not acknowledged, else 5,000. */
  readonly timeoutMs?: number | undefined
}

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkCloseOptions(options: CloseOptions): void {
  checkOptions('close()', options, ['signal', 'timeoutMs'])
  const { signal, timeoutMs } = options
  if (timeoutMs !== undefined) checkInteger('timeoutMs', timeoutMs, 0, mostTimeoutMs)
  // One that has fired is no error here: it says not to wait.
  if (signal !== undefined && !isSignal(signal)) {
    throw invalid(`'signal' must be an AbortSignal, not ${show(signal)}.`)
  }
}

/** What ends the waits of `close()`: the signals and times of all its calls. The first one counts. */
export class CloseBound {
  readonly #end = new AbortController()
  #isLate = false

  /** Fires when nothing is waited for any more. */
  get signal(): AbortSignal {
    return this.#end.signal
  }

  /** It fired because time was over. */
  get isLate(): boolean {
    return this.#isLate
  }

  /**
   * Takes the options of one more call.
   *
   * @param defaultMs the time if the options name none; `undefined` adds no time
   * @param over      resolves when there is nothing to bound any more
   */
  add({ signal, timeoutMs }: CloseOptions, defaultMs: number | undefined, over: Promise<void>): void {
    const end = this.#end
    if (end.signal.aborted) return
    if (signal?.aborted) {
      end.abort(signal.reason)
      return
    }
    const bound = timeoutMs ?? defaultMs
    const timer =
      bound === undefined
        ? undefined
        : setTimeout(() => {
            this.#isLate = true
            end.abort()
          }, bound)
    const forget = signal && onAbort(signal, () => end.abort(signal.reason))
    void over.then(() => {
      clearTimeout(timer)
      forget?.()
    })
  }

  /** Ends the waits in so many milliseconds, unless the function that is returned is called before. */
  endWithin(timeoutMs: number): () => void {
    const timer = setTimeout(() => this.#end.abort(), timeoutMs)
    return () => clearTimeout(timer)
  }
}
