import type { Codec, Reader, Region } from './codec.js'
import { describe, encodeFailed } from './failures.js'
import { regionOf } from './region.js'

const ours = new WeakSet<object>()
const none = new Uint8Array(0)

/** Freezes a codec of this package, and marks it as one that may work in the memory of a log: it hands no such memory on. */
export function sealed<T extends object>(codec: T): T {
  ours.add(codec)
  return Object.freeze(codec)
}

/**
 * The codec itself if it is one of this package. One that was written elsewhere works on copies: a store into a mapped log would
 * end the process, and a buffer that it transferred away would be written to after it was freed.
 */
export function guarded<In, Out, View>(codec: Codec<In, Out, View>): Codec<In, Out, View> {
  if (ours.has(codec)) return codec
  let scratch = none
  return Object.freeze({
    name: codec.name,
    fingerprint: codec.fingerprint,
    schema: codec.schema,
    maxBytes: codec.maxBytes,
    encode(value: In, target: Region, offset: number, limit: number): number {
      const room = limit - offset
      // Its length is 0 once it was transferred. Taken out while in use: encode() may encode another value.
      const own = scratch.length === room ? scratch : new Uint8Array(room)
      scratch = none
      const length = codec.encode(value, regionOf(own), 0, room)
      if (!Number.isInteger(length) || length < 0 || length > room || own.length !== room) {
        throw encodeFailed(
          codec.name,
          `its encode() must return how many bytes it wrote, and returned ${describe(length)}.`,
        )
      }
      target.bytes.set(own.subarray(0, length), offset)
      scratch = own
      return length
    },
    decode: (source: Region, offset: number, length: number): Out =>
      codec.decode(copyOf(source, offset, length), 0, length),
    reader(): Reader<View> {
      const reader = codec.reader()
      return { read: (source, offset, length) => reader.read(copyOf(source, offset, length), 0, length) }
    },
  })
}

function copyOf(source: Region, offset: number, length: number): Region {
  return regionOf(source.bytes.slice(offset, offset + length))
}
