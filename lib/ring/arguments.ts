import { invalid, show } from '../base/options.js'
import { isUint8Array, lengthOf } from '../base/plain-bytes.js'

/** Most items of one call: a whole number, or Infinity for all. @throws HermesError `INVALID_ARGUMENT` */
export function checkLimit(limit: unknown): void {
  if (typeof limit === 'number' && limit >= 0 && (Number.isInteger(limit) || limit === Number.POSITIVE_INFINITY)) return
  throw invalid(`'limit' must be a whole number from 0 on, not ${show(limit)}.`)
}

/** What goes with a frame. Nothing that becomes a number: that would run the caller's code. @throws HermesError `INVALID_ARGUMENT` */
export function checkLabel(label: unknown): void {
  if (typeof label === 'number' && label >>> 0 === label) return
  throw invalid(`'label' must be a whole number from 0 to 4294967295, not ${show(label)}.`)
}

/** @throws HermesError `INVALID_ARGUMENT` */
export function checkHandler(handler: unknown): void {
  if (typeof handler !== 'function') throw invalid(`poll() takes a function, not ${show(handler)}.`)
}

/** Where `popInto` writes. @throws HermesError `INVALID_ARGUMENT` unless `bytes` fit in from `offset` on */
export function checkTarget(target: unknown, offset: number, bytes: number): void {
  if (!isUint8Array(target)) throw invalid(`popInto() takes a Uint8Array or Buffer, not ${show(target)}.`)
  if (!Number.isInteger(offset) || offset < 0 || lengthOf(target) - offset < bytes)
    throw invalid(`popInto(): this item takes ${bytes} bytes from 'offset' on.`)
}
