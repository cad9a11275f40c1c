/** A stretch of memory, seen as bytes and as a DataView: one object for each mapped segment or scratch buffer. */
export interface Region {
  readonly bytes: Uint8Array
  readonly data: DataView
}

/**
 * Reads payloads in place. A reader belongs to one subscriber and may return the same object every time.
 *
 * @typeParam View what a `poll` handler receives; valid only until the handler returns.
 */
export interface Reader<View> {
  /** Reads the payload of `length` bytes at `offset` of `region`. Throws `DECODE_FAILED` if it is no such value. */
  read(region: Region, offset: number, length: number): View
}

/**
 * Turns values into payload bytes and back. Codecs hold no state between calls, so one may serve many topics.
 *
 * @typeParam In   what `publish` takes
 * @typeParam Out  what iterators yield: an owned value, the caller's for ever
 * @typeParam View what `poll` hands out: valid only until the handler returns
 */
export interface Codec<In, Out = In, View = Out> {
  /** `raw`, `text`, `json`, `msgpack`, `struct`, or the name of a user's own. */
  readonly name: string
  /** Changes whenever the meaning of the bytes does. Kept with the topic: another fingerprint is refused. */
  readonly fingerprint: string
  /** A JSON description of the layout for other programs, or `null` when the bytes describe themselves. */
  readonly schema: unknown
  /** The size in bytes that no encoded value exceeds, or `undefined` when values have no bound of their own. */
  readonly maxBytes: number | undefined
  /**
   * Writes `value` at `offset` of `target` and returns the number of bytes written. Never writes at or past `limit`:
   * throws `PAYLOAD_TOO_LARGE` instead. Throws `ENCODE_FAILED` for a value that it can't represent.
   */
  encode(value: In, target: Region, offset: number, limit: number): number
  /** Reads an owned value. Throws `DECODE_FAILED`. */
  decode(source: Region, offset: number, length: number): Out
  /** Makes a reader for one subscriber. */
  reader(): Reader<View>
}

/** What a codec takes: `InputOf<typeof Quote>`. */
export type InputOf<C> = C extends Codec<infer In, infer _Out, infer _View> ? In : never
/** What iterators yield of it. */
export type ValueOf<C> = C extends Codec<infer _In, infer Out, infer _View> ? Out : never
/** What `poll` hands out of it. */
export type ViewOf<C> = C extends Codec<infer _In, infer _Out, infer View> ? View : never
