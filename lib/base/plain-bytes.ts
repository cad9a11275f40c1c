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
const buffer = getterOf<ArrayBufferLike>('buffer')
const byteOffset = getterOf<number>('byteOffset')

/** The number of bytes; 0 once the buffer was transferred. */
export function lengthOf(bytes: Uint8Array): number {
  return length.call(bytes)
}

/** Bytes `start` to `end` as a plain Uint8Array over the same memory: `slice` of a Buffer shares memory, and codecs rely on it to copy. */
export function plainView(bytes: Uint8Array, start: number, end: number): Uint8Array {
  return new Uint8Array(buffer.call(bytes), byteOffset.call(bytes) + start, end - start)
}
