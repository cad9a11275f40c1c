import { Decoder, Encoder, ExtensionCodec } from '@msgpack/msgpack'
import { plainBytes } from '../base/plain-bytes.js'
import { isAscii, isWellFormed, readUtf8 } from './strings.js'

const maxUint64 = 2n ** 64n - 1n
const minInt64 = -(2n ** 63n)
/** Up to here the library decodes a string by itself. A longer one loses a leading U+FEFF there. */
const ownStringBytes = 200

/**
 * Where the library changes a value without a word, or writes what can't be read, its method is replaced. These methods are
 * private to TypeScript, so they are replaced by name; the tests of each case notice if a new version renames one.
 */
interface EncoderParts {
  writeU8(value: number): void
  writeU8a(bytes: Uint8Array): void
  writeU16(value: number): void
  writeU32(value: number): void
  writeF64(value: number): void
  doEncode(value: unknown, depth: number): void
  encodeString(text: string): void
  encodeNumber(value: number): void
  encodeBigInt64(value: bigint): void
}

interface DecoderParts {
  bytes: Uint8Array
  pos: number
  decodeUtf8String(bytes: number, headerBytes: number): string
}

const encoderParts = Encoder.prototype as unknown as EncoderParts
const decoderParts = Decoder.prototype as unknown as DecoderParts

/** Dates, which the library takes for 1970 if they are invalid. */
const extensions = new ExtensionCodec()
const timestamps = { encode: ExtensionCodec.defaultCodec.tryToEncode, decode: ExtensionCodec.defaultCodec.decode }
extensions.register({
  type: -1,
  encode(value: unknown): Uint8Array | null {
    if (!(value instanceof Date)) return null
    if (Number.isNaN(Date.prototype.getTime.call(value))) throw new RangeError('an invalid Date has no time')
    return timestamps.encode.call(ExtensionCodec.defaultCodec, value, undefined)?.data as Uint8Array
  },
  decode(data: Uint8Array): unknown {
    const date = timestamps.decode.call(ExtensionCodec.defaultCodec, data, -1, undefined) as Date
    if (Number.isNaN(date.getTime())) throw new RangeError('a timestamp is beyond what a Date can hold')
    return date
  },
})

export class StrictEncoder extends Encoder {
  constructor() {
    super({ useBigInt64: true, extensionCodec: extensions })
  }
}

function header(self: EncoderParts, size: number, small: number, large: number): void {
  if (size < 16) {
    self.writeU8(small + size)
  } else if (size < 0x1_0000) {
    self.writeU8(large)
    self.writeU16(size)
  } else {
    self.writeU8(large + 1)
    self.writeU32(size)
  }
}

const strict = {
  // A value whose getter encodes another one. Each needs a buffer of its own.
  clone(): StrictEncoder {
    return new StrictEncoder()
  },
  encodeNumber(this: EncoderParts, value: number): void {
    if (!Object.is(value, -0)) return encoderParts.encodeNumber.call(this, value)
    this.writeU8(0xcb)
    this.writeF64(value)
  },
  encodeBigInt64(this: EncoderParts, value: bigint): void {
    if (value > maxUint64 || value < minInt64) throw new RangeError(`${value}n does not fit into 64 bits`)
    encoderParts.encodeBigInt64.call(this, value)
  },
  encodeString(this: EncoderParts, text: string): void {
    if (!isWellFormed(text)) {
      throw new TypeError('a string holds half of a surrogate pair, which UTF-8 cannot express')
    }
    encoderParts.encodeString.call(this, text)
  },
  encodeArray(this: EncoderParts, array: readonly unknown[], depth: number): void {
    // The length that is announced is what follows, whatever the elements' getters do to the array meanwhile.
    const size = array.length
    header(this, size, 0x90, 0xdc)
    for (let index = 0; index < size; index++) this.doEncode(array[index], depth + 1)
  },
  encodeMap(this: EncoderParts, object: Record<string, unknown>, depth: number): void {
    const keys = Object.keys(object)
    // No decoder of JavaScript accepts it.
    if (keys.includes('__proto__')) throw new TypeError("an object has the key '__proto__', which can not be decoded")
    header(this, keys.length, 0x80, 0xde)
    for (const key of keys) {
      this.encodeString(key)
      this.doEncode(object[key], depth + 1)
    }
  },
  encodeBinary(this: EncoderParts, view: ArrayBufferView): void {
    const bytes = plainBytes(view)
    const size = bytes.length
    if (size < 0x100) {
      this.writeU8(0xc4)
      this.writeU8(size)
    } else if (size < 0x1_0000) {
      this.writeU8(0xc5)
      this.writeU16(size)
    } else {
      this.writeU8(0xc6)
      this.writeU32(size)
    }
    this.writeU8a(bytes)
  },
}

for (const [name, value] of Object.entries(strict)) Object.defineProperty(StrictEncoder.prototype, name, { value })

export class StrictDecoder extends Decoder {
  constructor() {
    super({ useBigInt64: true, extensionCodec: extensions })
  }
}

Object.defineProperty(StrictDecoder.prototype, 'decodeUtf8String', {
  value(this: DecoderParts, bytes: number, headerBytes: number): string {
    const offset = this.pos + headerBytes
    if (bytes <= ownStringBytes && isAscii(this.bytes, offset, bytes)) {
      return decoderParts.decodeUtf8String.call(this, bytes, headerBytes)
    }
    const text = readUtf8(this.bytes, offset, bytes)
    this.pos = offset + bytes
    return text
  },
})
