import { closeSync, openSync, readdirSync, readFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'

/** A frame as it lies in a segment file: see docs/log-format.md. */
export interface StoredFrame {
  readonly file: string
  readonly offset: number
  readonly span: number
  readonly type: 'data' | 'padding' | 'void'
  readonly sequence: number
  /** Sequences that it uses up. */
  readonly count: number
}

export const committed = 0x314d5248

export function topicFolder(place: string, topic: string): string {
  return join(place, 'topics', topic)
}

export function segmentFiles(place: string, topic: string): string[] {
  const folder = topicFolder(place, topic)
  return readdirSync(folder)
    .filter((name) => name.endsWith('.seg'))
    .sort()
    .map((name) => join(folder, name))
}

/** All frames of a topic that nobody writes to now, by the format's document alone. */
export function storedFrames(place: string, topic: string): StoredFrame[] {
  const frames: StoredFrame[] = []
  for (const file of segmentFiles(place, topic)) {
    const bytes = readFileSync(file)
    for (let offset = 256; offset + 32 <= bytes.length; ) {
      if (bytes.readUInt32LE(offset) !== committed) break
      const kind = bytes.readUInt8(offset + 5)
      const length = bytes.readUInt32LE(offset + 24)
      const span = Math.ceil((32 + length) / 8) * 8
      const type = kind === 1 ? 'data' : kind === 2 ? 'padding' : 'void'
      const voids = length >= 8 ? bytes.readUInt32LE(offset + 32) : 1
      const count = type === 'data' ? 1 : type === 'void' ? voids : 0
      frames.push({ file, offset, span, type, sequence: Number(bytes.readBigUInt64LE(offset + 8)), count })
      offset += span
    }
  }
  return frames
}

/** Changes one bit of a file. */
export function flipBit(file: string, offset: number, bit = 0): void {
  const byte = readFileSync(file).readUInt8(offset)
  overwrite(file, offset, Buffer.from([byte ^ (1 << bit)]))
}

export function overwrite(file: string, offset: number, bytes: Uint8Array): void {
  const handle = openSync(file, 'r+')
  try {
    writeSync(handle, bytes, 0, bytes.length, offset)
  } finally {
    closeSync(handle)
  }
}
