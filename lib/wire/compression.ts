import { HermesError } from '../base/errors.js'
import { nodeModule } from '../base/node.js'

/*
 * Frames that travel compressed: docs/wire-protocol.md, "Compressed frames". The calls are synchronous on purpose. A batch is bounded, to
 * inflate it takes less than a millisecond and to deflate it a few, and to hand it to a thread and wait would need copies of what is sent
 * and received while its order has to be kept.
 */

/** `deflate` compresses what one side sends where the other side agrees. */
export type Compression = 'none' | 'deflate'
export const compressions: readonly Compression[] = ['none', 'deflate']

/** The feature's name in HELLO and WELCOME. */
export const compressionFeature = 'deflate'

/** Frames of one compressed packet, in bytes: what its receiver has to make room for, whatever the few bytes that have arrived say. */
export const mostInflatedBytes = 1024 * 1024

/** The frames' length, in front of the compressed stream. */
export const inflatedLengthBytes = 4

/** Below this many bytes compressing costs more than it saves. */
const leastDeflatedBytes = 1024

/** After frames that did not get smaller, this many packets go as they are: such data seldom comes alone. */
const restPackets = 15

type Zlib = typeof import('node:zlib')
let loaded: Zlib | undefined

/** @throws HermesError `UNSUPPORTED` where there is no Node: compression is not offered there */
function zlib(): Zlib {
  loaded ??= nodeModule('node:zlib')
  if (loaded === undefined) throw new HermesError('UNSUPPORTED', "Compression needs Node. Leave 'compression' out.")
  return loaded
}

/** Decides what of one connection's output is compressed, and does it. */
export class Deflater {
  #rest = 0

  /** The compressed frames; `undefined` if they should travel as they are. */
  deflate(frames: Uint8Array): Buffer | undefined {
    if (frames.length < leastDeflatedBytes || frames.length > mostInflatedBytes) return undefined
    if (this.#rest > 0) {
      this.#rest--
      return undefined
    }
    const { constants, deflateRawSync } = zlib()
    const stream = deflateRawSync(frames, { level: constants.Z_BEST_SPEED })
    if (stream.length + inflatedLengthBytes < frames.length - frames.length / 8) return stream
    this.#rest = restPackets
    return undefined
  }
}

/**
 * Inflates what stands in bytes[start, end) to `target` at `at`.
 *
 * @param length what the sender says; not more memory than that is used, and it has to be exact
 * @throws HermesError `PROTOCOL`
 */
export function inflateInto(
  target: Buffer,
  at: number,
  bytes: Buffer,
  start: number,
  end: number,
  length: number,
): void {
  let frames: Buffer
  try {
    // Room for a little more, or Node would ask for a second buffer to see that there is no more.
    frames = zlib().inflateRawSync(bytes.subarray(start, end), { maxOutputLength: length, chunkSize: length + 64 })
  } catch (cause) {
    throw new HermesError('PROTOCOL', 'The compressed frames of a packet can not be read, or are more than it says.', {
      cause,
    })
  }
  if (frames.length !== length)
    throw new HermesError('PROTOCOL', `A packet holds ${frames.length} bytes of frames, and says ${length}.`)
  frames.copy(target, at)
}
