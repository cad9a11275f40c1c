import { nodeModule } from './node.js'

/*
 * What a value really is, whatever it says of itself, and whatever realm it is of: its own slots answer. `instanceof` believes a prototype, and runs
 * code of a Proxy.
 */

function answers(value: unknown, prototype: object, name: string): boolean {
  const { get, value: method } = Object.getOwnPropertyDescriptor(prototype, name) ?? {}
  try {
    ;(get ?? method).call(value)
    return true
  } catch {
    return false
  }
}

export function isDate(value: unknown): value is Date {
  return answers(value, Date.prototype, 'valueOf')
}

export function isDataView(value: unknown): value is DataView {
  return answers(value, DataView.prototype, 'buffer')
}

/** An ArrayBuffer, transferred or not, or a SharedArrayBuffer. */
export function isAnyArrayBuffer(value: unknown): value is ArrayBufferLike {
  if (answers(value, ArrayBuffer.prototype, 'byteLength')) return true
  return typeof SharedArrayBuffer === 'function' && answers(value, SharedArrayBuffer.prototype, 'byteLength')
}

/** (Only Node tells.) */
export function isAsyncFunction(value: unknown): boolean {
  return nodeModule('node:util')?.types.isAsyncFunction(value) === true
}
