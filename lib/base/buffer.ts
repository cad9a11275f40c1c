/*
 * Node's Buffer, or where there is no Node a class with the part of it that the wire protocol and the codecs use. Code that has to run in a browser imports `Buffer` from here.
 */

const decoders: Readonly<Record<string, (bytes: Uint8Array) => string>> = {
  utf8: (bytes) => new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes),
  latin1: (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''),
  hex: (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(''),
  base64: (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join('')),
}

const encoders: Readonly<Record<string, (text: string) => Uint8Array>> = {
  utf8: (text) => new TextEncoder().encode(text),
  latin1: (text) => Uint8Array.from(text, (character) => character.charCodeAt(0)),
  hex: (text) => {
    // (As Node: up to the first pair that is none.)
    const pairs = /^(?:[0-9a-f]{2})*/i.exec(text)?.[0] ?? ''
    return Uint8Array.from({ length: pairs.length / 2 }, (_, n) => Number.parseInt(pairs.slice(2 * n, 2 * n + 2), 16))
  },
}

function by<T>(table: Readonly<Record<string, T>>, encoding: string): T {
  const found = table[encoding.toLowerCase().replace('-', '')]
  if (found === undefined) throw new TypeError(`Unknown encoding: ${encoding}`)
  return found
}

/** What is used of Node's Buffer, and no more. Exported for its test, which compares it with Node's. @internal */
export class PortableBuffer extends Uint8Array {
  static alloc(bytes: number): PortableBuffer {
    return new PortableBuffer(bytes)
  }

  static allocUnsafe(bytes: number): PortableBuffer {
    return new PortableBuffer(bytes)
  }

  static allocUnsafeSlow(bytes: number): PortableBuffer {
    return new PortableBuffer(bytes)
  }

  static override from(
    source: string | ArrayBufferLike | ArrayLike<number> | Iterable<number>,
    encodingOrOffset?: unknown,
    length?: unknown,
  ): PortableBuffer {
    if (typeof source === 'string') {
      const bytes = by(encoders, (encodingOrOffset as string | undefined) ?? 'utf8')(source)
      return new PortableBuffer(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength)
    }
    if (source instanceof ArrayBuffer || isShared(source))
      return new PortableBuffer(
        source as ArrayBuffer,
        encodingOrOffset as number | undefined,
        length as number | undefined,
      )
    return new PortableBuffer(source as ArrayLike<number>)
  }

  static concat(parts: readonly Uint8Array[]): PortableBuffer {
    const whole = new PortableBuffer(parts.reduce((sum, { length }) => sum + length, 0))
    let at = 0
    for (const part of parts) {
      whole.set(part, at)
      at += part.length
    }
    return whole
  }

  static byteLength(text: string): number {
    return new TextEncoder().encode(text).length
  }

  static compare(a: Uint8Array, b: Uint8Array): number {
    const both = Math.min(a.length, b.length)
    for (let at = 0; at < both; at++) {
      const difference = (a[at] as number) - (b[at] as number)
      if (difference !== 0) return Math.sign(difference)
    }
    return Math.sign(a.length - b.length)
  }

  /** Bounds are checked as Node's: what is hostile must not be read as something else. */
  #need(at: number, bytes: number): void {
    if (!(at >= 0 && at + bytes <= this.length)) throw new RangeError(`Offset ${at} is out of range.`)
  }

  copy(target: Uint8Array, at = 0, start = 0, end = this.length): number {
    const piece = this.subarray(start, Math.min(end, start + target.length - at))
    target.set(piece, at)
    return piece.length
  }

  readUInt16LE(at = 0): number {
    this.#need(at, 2)
    return (this[at] as number) | ((this[at + 1] as number) << 8)
  }

  readUInt32LE(at = 0): number {
    this.#need(at, 4)
    const low = (this[at] as number) | ((this[at + 1] as number) << 8) | ((this[at + 2] as number) << 16)
    return (low | ((this[at + 3] as number) << 24)) >>> 0
  }

  readBigUInt64LE(at = 0): bigint {
    return (BigInt(this.readUInt32LE(at + 4)) << 32n) | BigInt(this.readUInt32LE(at))
  }

  writeUInt32LE(value: number, at = 0): number {
    this.#need(at, 4)
    if (!(value >= 0 && value <= 0xffff_ffff)) throw new RangeError(`${value} is no unsigned 32-bit integer.`)
    this[at] = value
    this[at + 1] = value >>> 8
    this[at + 2] = value >>> 16
    this[at + 3] = value >>> 24
    return at + 4
  }

  writeBigUInt64LE(value: bigint, at = 0): number {
    if (value < 0n || value >= 1n << 64n) throw new RangeError(`${value} is no unsigned 64-bit integer.`)
    this.writeUInt32LE(Number(value & 0xffff_ffffn), at)
    return this.writeUInt32LE(Number(value >> 32n), at + 4)
  }

  write(text: string, at = 0): number {
    return new TextEncoder().encodeInto(text, this.subarray(at)).written
  }

  override toString(encoding = 'utf8', start = 0, end = this.length): string {
    return by(decoders, encoding)(this.subarray(start, end))
  }
}

function isShared(source: unknown): source is SharedArrayBuffer {
  return typeof SharedArrayBuffer === 'function' && source instanceof SharedArrayBuffer
}

type NodeBuffer = typeof globalThis.Buffer

export type Buffer = InstanceType<NodeBuffer>
/** Node's own, where there is Node. */
export const Buffer: NodeBuffer =
  (globalThis as { readonly Buffer?: NodeBuffer }).Buffer ?? (PortableBuffer as unknown as NodeBuffer)
