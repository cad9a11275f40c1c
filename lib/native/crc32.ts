import { plainView } from '../base/plain-bytes.js'
import { crc32Portable, useCrc32 } from '../frame/crc32.js'
import { native } from './addon.js'

/** Below this many bytes the crossing and the subarray cost more than the checksum itself does in JavaScript. */
const worthCrossing = 256

// Long ranges go to the addon, which has the processor's own instructions for them.
useCrc32((bytes, start, end, seed) =>
  end - start < worthCrossing
    ? crc32Portable(bytes, start, end, seed)
    : native.crc32(plainView(bytes, start, end), seed),
)
