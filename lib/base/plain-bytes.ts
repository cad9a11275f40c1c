import { isDataView } from './kinds.js'

/**
 * What a Uint8Array really is. A subclass, or a property of the object's own, may say something else of `length`, `buffer` or
 * `subarray`, and a store that believes it writes past its limit.
 */
const prototype = Object.getPrototypeOf(Uint8Array.prototype) as object

type Getter<T> = (this: Uint8Array) => T

function getterOf<T>(name: string): Getter<T> {
  return Object.getOwnPropertyDescriptor(prototype, name)?.get as Getter<T>
}

const length = getterOf<number>('length')
const kind = Object.getOwnPropertyDescriptor(prototype, Symbol.toStringTag)?.get as (
  this: unknown,
) => string | undefined
const buffer = getterOf<ArrayBufferLike>('buffer')
const byteOffset = getterOf<number>('byteOffset')
const byteLength = getterOf<number>('byteLength')

const dataView = Object.getOwnPropertyDescriptors(DataView.prototype)

/** The bytes of any view, as a plain Uint8Array. @throws TypeError once its buffer was transferred, or is too short for it */
export function plainBytes(view: ArrayBufferView): Uint8Array {
  if (isDataView(view)) {
    const of = (name: 'buffer' | 'byteOffset' | 'byteLength') =>
      (dataView[name].get as (this: DataView) => unknown).call(view) as never
    return new Uint8Array(of('buffer'), of('byteOffset'), of('byteLength'))
  }
  const typed = view as Uint8Array
  return new Uint8Array(buffer.call(typed), byteOffset.call(typed), byteLength.call(typed))
}

/** The memory that it is a view of. */
export function bufferOf(bytes: Uint8Array): ArrayBufferLike {
  return buffer.call(bytes)
}

/** Where in that memory it begins, in bytes. */
export function offsetOf(bytes: Uint8Array): number {
  return byteOffset.call(bytes)
}

/** Whether it is a Uint8Array, a Buffer included, of whatever realm; not what merely says so. */
export function isUint8Array(value: unknown): value is Uint8Array {
  return kind.call(value) === 'Uint8Array'
}

/** The number of bytes; 0 once the buffer was transferred. */
export function lengthOf(bytes: Uint8Array): number {
  return length.call(bytes)
}

/** Bytes `start` to `end` as a plain Uint8Array over the same memory: `slice` of a Buffer shares memory, and codecs rely on it to copy. */
export function plainView(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(buffer.call(bytes), byteOffset.call(bytes) + start, end - start)
}
