import { invalid } from './options.js'

/**
 * Looks at an object that a handler returned. A promise says that the handler goes on after it has returned, when its view shows another message:
 * an async function, or one that returns what an async function gave it.
 *
 * Hot paths call this for objects only (`typeof answer === 'object'`): a handler mostly returns nothing, or a number.
 *
 * @param call the call that was given the handler, for the message: `poll()`
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function refusePromise(call: string, answer: object | null): void {
  if (answer === null || typeof (answer as { then?: unknown }).then !== 'function') return
  throw invalid(
    `${call} takes a handler that is done when it returns, and this one returned a promise: what it was given is gone by the time the promise goes on. Copy what is needed, or take owned values and await those.`,
  )
}
