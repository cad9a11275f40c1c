import { crc32Portable, useCrc32 } from './crc32.js'
import { native } from './native.js'
import { plainView } from './plain-bytes.js'

/** Below this many bytes the crossing and the subarray cost more than the checksum itself does in JavaScript. */
const worthCrossing = 256

// Long ranges go to the addon, which has the processor's own instructions for them.
useCrc32((bytes, start, end, seed) =>
  end - start < worthCrossing
    ? crc32Portable(bytes, start, end, seed)
    : native.crc32(plainView(bytes, start, end), seed),
)
