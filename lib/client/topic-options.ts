import { checkBoolean, checkInteger, checkOptions, invalid, isCodec, show } from '../base/options.js'
import type { Codec } from '../codec/codec.js'
import { defaultSegmentBytes, maxSegmentBytes, minSegmentBytes } from '../model/limits.js'
import type { Retention, TopicSettings } from '../model/topic.js'

/** Options of `hermes.topic()`. Settings other than retention are fixed by the first publisher; giving others later is an error. */
export interface TopicOptions<In, Out, View> {
  /** How values become bytes. Default: `json`. To check values at the boundary, wrap it: `validated(codec, schema)`. */
  readonly codec?: Codec<In, Out, View>
  /** Bytes per segment file: a multiple of 4,096. Default 100 MiB. */
  readonly segmentBytes?: number
  /** The largest encoded value, in bytes. Default 64 KiB. */
  readonly maxPayloadBytes?: number
  /** What to keep: whole segments, oldest first out. Unlimited unless given. Publishers set it, also of a topic that exists; a subscriber changes nothing. */
  readonly retention?: Retention
  /** Refuse to publish (`DISK_FULL`) when less than this would stay free on the disk. Default: 64 MiB, or 5 % of a small disk. */
  readonly lowWaterBytes?: number
  /** False: a topic that does not exist is an error (`NOT_FOUND`). Default true. */
  readonly create?: boolean
}

/** The log counts ages in nanoseconds, in 63 bits: about 292 years. */
const maxAgeMs = 9_223_372_036_854

const topicOptions: readonly string[] = [
  'codec',
  'segmentBytes',
  'maxPayloadBytes',
  'retention',
  'lowWaterBytes',
  'create',
]

/** @param where the call, for the message */
export function checkTopicOptions(
  options: TopicOptions<never, unknown, unknown>,
  where = 'topic()',
  allowed = topicOptions,
): Omit<TopicSettings, 'codec'> {
  checkOptions(where, options, allowed)
  const { segmentBytes, maxPayloadBytes, retention, lowWaterBytes, create = true } = options
  if (segmentBytes !== undefined) {
    checkInteger('segmentBytes', segmentBytes, minSegmentBytes, maxSegmentBytes)
    if (segmentBytes % 4096 !== 0) {
      const next = Math.ceil(segmentBytes / 4096) * 4096
      throw invalid(`'segmentBytes' must be a multiple of 4096, such as ${next}, not ${segmentBytes}.`)
    }
  }
  if (maxPayloadBytes !== undefined) {
    // A quarter of a segment, so that padding at its end never wastes more than that.
    const segment = segmentBytes ?? defaultSegmentBytes
    const most = Math.floor(segment / 4)
    if (typeof maxPayloadBytes === 'number' && Number.isSafeInteger(maxPayloadBytes) && maxPayloadBytes > most) {
      throw invalid(
        `'maxPayloadBytes' must be at most ${most}, a quarter of 'segmentBytes' (${segment}), not ${maxPayloadBytes}. Give larger segments, too.`,
      )
    }
    checkInteger('maxPayloadBytes', maxPayloadBytes, 1, most)
  }
  if (retention !== undefined) checkRetention(retention)
  if (lowWaterBytes !== undefined) checkInteger('lowWaterBytes', lowWaterBytes, 0, Number.MAX_SAFE_INTEGER)
  checkBoolean('create', create)
  return { segmentBytes, maxPayloadBytes, retention, lowWaterBytes, create }
}

/** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
export function checkRetention(retention: Retention): void {
  checkOptions("'retention'", retention, ['bytes', 'ageMs', 'waitForGroups'])
  const { bytes, ageMs, waitForGroups } = retention
  if (bytes !== undefined) checkInteger('retention.bytes', bytes, 1, Number.MAX_SAFE_INTEGER)
  if (ageMs !== undefined) checkInteger('retention.ageMs', ageMs, 1, maxAgeMs)
  if (waitForGroups === undefined) return
  checkInteger('retention.waitForGroups', waitForGroups, 1, Number.MAX_SAFE_INTEGER)
  if (bytes === undefined && ageMs === undefined)
    throw invalid("'retention.waitForGroups' holds up a limit: set 'bytes' or 'ageMs', too.")
}

/**
 * @param option that it was given as, for the message
 * @throws HermesError `INVALID_ARGUMENT`
 */
export function checkCodec(codec: unknown, option = "'codec'"): void {
  if (isCodec(codec)) return
  throw invalid(
    `${option} must be a codec, not ${show(codec)}: raw, text, json or msgpack, imported from 'hermes-mq', or what struct({…}), custom({…}) or validated(…) returns.`,
  )
}
