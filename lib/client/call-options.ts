import { checkInteger, checkOptions, invalid } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import { type Call, type CallView, callCodec, callHeadBytes } from '../codec/call.js'
import type { Codec } from '../codec/codec.js'
import { json } from '../codec/json.js'
import type { Topic } from './topic.js'
import { checkCodec, type TopicOptions } from './topic-options.js'

/** What both sides of requests have to agree on. */
export interface CallOptions<Request, Reply> {
  /** How requests become bytes. Default: `json`. */
  readonly request?: Codec<Request, Request, unknown>
  /** How replies become bytes. Default: `json`. */
  readonly reply?: Codec<Reply, Reply, unknown>
  /** The largest encoded request or reply, in bytes: 1 to 4,000,000. Default 64 KiB. Fixed by the first client that opens the service. */
  readonly maxPayloadBytes?: number
}

/** Where the topics are. */
export interface CallPlace {
  topic<In, Out, View>(name: string, options: TopicOptions<In, Out, View>): Topic<In, Out, View>
}

export type CallTopic<Value> = Topic<Call<Value>, Call<Value>, CallView<Value>>

const segmentBytes = 16 * 1024 * 1024
/** Of each of the two topics: messages need not be kept after their deadline. */
const keptBytes = 64 * 1024 * 1024

/** The two topics of `name`: `<name>.requests` and `<name>.replies`. */
export function callTopics<Request, Reply>(
  hermes: CallPlace,
  where: string,
  name: string,
  options: CallOptions<Request, Reply>,
  others: readonly string[],
): { requests: CallTopic<Request>; replies: CallTopic<Reply> } {
  checkOptions(where, options, ['request', 'reply', 'maxPayloadBytes', ...others])
  checkTopicName(name, 'service')
  if (name.length > 100)
    throw invalid(`The name of a service has 100 characters at most, as its topics are called after it.`)
  const { request = json as Codec<Request>, reply = json as Codec<Reply>, maxPayloadBytes = 65_536 } = options
  checkCodec(request, "'request'")
  checkCodec(reply, "'reply'")
  checkInteger('maxPayloadBytes', maxPayloadBytes, 1, 4_000_000)
  const settings = {
    segmentBytes,
    maxPayloadBytes: maxPayloadBytes + callHeadBytes,
    retention: { bytes: keptBytes },
  }
  return {
    requests: hermes.topic(`${name}.requests`, { codec: callCodec(request), ...settings }),
    replies: hermes.topic(`${name}.replies`, { codec: callCodec(reply), ...settings }),
  }
}
