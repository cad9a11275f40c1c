import type { Region } from '../../codec/codec.js'
import { crc32Range } from '../../frame/crc32.js'
import type { ConsumerOptions } from '../consumer-port.js'

/** As many as a group has. */
const keyBuckets = 1024

/** The bucket of a payload's key, as the broker finds it: it does not travel. */
export function keyBucket({ hashOf, rules }: ConsumerOptions, region: Region, at: number, length: number): number {
  if (hashOf !== undefined) return hashOf(region, at, length) % keyBuckets
  const { offset, bytes } = rules.key ?? { offset: 0, bytes: 0 }
  return crc32Range(region.bytes, at + Math.min(offset, length), at + Math.min(offset + bytes, length), 0) % keyBuckets
}
