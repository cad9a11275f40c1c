import { plainView } from '../base/plain-bytes.js'
import { crc32Portable, useCrc32 } from '../frame/crc32.js'
import { addonIfPresent } from './load.js'

/** Below this many bytes the crossing and the subarray cost more than the checksum itself does in JavaScript. */
const worthCrossing = 256

const addon = addonIfPresent()

// Long ranges go to the addon, if there is one: it has the processor's own instructions for them.
if (addon !== undefined) {
  const { crc32 } = addon
  useCrc32((bytes, start, end, seed) =>
    end - start < worthCrossing ? crc32Portable(bytes, start, end, seed) : crc32(plainView(bytes, start, end), seed),
  )
}
