import type { HermesError } from '../base/errors.js'
import { invalid } from '../base/options.js'
import type { TopicSettings } from '../model/topic.js'

/** Which topic a mirror is of. */
export interface MirrorOrigin {
  readonly topic: string
  /** When it was made, in ms since 1970: tells it from a later one of its name. */
  readonly createdMs: number
}

/** Messages of the origin that go into a mirror together: whole frames of data, one behind the other, none left out between them. */
export interface MirrorPiece {
  /** The sequence that the first one has at its origin. */
  readonly first: number
  /** How many there are. */
  readonly count: number
  /** Memory of the reader's: it is good until the next `fetch`. */
  readonly bytes: Uint8Array
}

/** How a topic is made a mirror. */
export interface MirrorOptions {
  readonly origin: MirrorOrigin
  readonly signal: AbortSignal
}

/** The end of a mirror at which messages go in. Two of them for one mirror do no harm, or the second one is refused. */
export interface MirrorPort {
  /** The origin's sequence to go on with; `undefined` in an empty mirror: with the oldest. */
  readonly next: number | undefined
  /** The newest messages of the mirror as they are at the origin, to be compared; `undefined` where they are not kept that way. */
  newest(): Promise<MirrorPiece | undefined>
  /** The most bytes of a piece, unless one message is larger. */
  readonly pieceBytes: number
  /**
   * Appends a piece, once, and waits until it is acknowledged, for as long as it takes.
   *
   * @returns false if somebody else was faster: go on at `next`
   * @throws HermesError if it is no use to try again; `ABORTED`
   */
  append(piece: MirrorPiece): Promise<boolean>
  close(): Promise<void>
}

/** A placement whose topics can be mirrors. */
export interface MirrorPlacement {
  /** Opens the mirror, or makes it. @throws HermesError `CONFIG_MISMATCH` if it is something else, `EXCLUSIVE_HELD`, … */
  mirror(topic: string, settings: TopicSettings, options: MirrorOptions): Promise<MirrorPort>
}

/** For a mirror that would be of itself. */
export function mirrorOfItself(topic: string): HermesError {
  return invalid(
    `Topic '${topic}' can't be a mirror of itself. Name another place, or another topic: the option 'as' of mirror(), <place>/<topic> of \`hermes mirror\`.`,
    { topic },
  )
}
