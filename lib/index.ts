/**
 * Everything public, by name. What this file does not list is not part of the interface.
 * @module hermes-mq
 */
import './native/crc32.js'

export type { WaitOptions } from './base/abort.js'
export { type ErrorCode, errorCodes, HermesError, type HermesErrorOptions } from './base/errors.js'
export { version } from './base/version.js'
export type {
  Administration,
  AlterTopicOptions,
  CreateTopicOptions,
  ForceOptions,
} from './client/administration.js'
export type { CallOptions } from './client/call-options.js'
export type { CloseOptions } from './client/close-options.js'
export type { Group } from './client/group.js'
export type { GroupOptions } from './client/group-options.js'
export type { HandleOptions } from './client/group-run.js'
export type { Handler } from './client/handler.js'
export type { Hermes } from './client/hermes.js'
export type { Job, NackOptions } from './client/job.js'
export type { JobHandler, JobView } from './client/job-view.js'
export type { Leadership, LeadOptions } from './client/leadership.js'
export type { Message, MessageView } from './client/message.js'
export type { Mirror, MirrorTopicOptions } from './client/mirror.js'
export { type OpenOptions, open } from './client/open.js'
export type { CommitOptions } from './client/progress.js'
export type { Publisher, PublishOptions } from './client/publisher.js'
export type { Receipt } from './client/receipt.js'
export type { Requester, RequesterOptions } from './client/requester.js'
export type { RequestContext, RequestHandler, Responder, ResponderOptions } from './client/responder.js'
export type { Subscriber } from './client/subscriber.js'
export type { PublisherOptions, SubscriberOptions, Topic } from './client/topic.js'
export type { TopicOptions } from './client/topic-options.js'
export type { Wait } from './client/wait.js'
export type { Codec, InputOf, Reader, Region, ValueOf, ViewOf } from './codec/codec.js'
export { type CustomCodecOptions, custom } from './codec/custom.js'
export { type DecodedMessage, Decoder, type DecoderOptions, type Frame } from './codec/decoder.js'
export { Encoder, type EncoderOptions } from './codec/encoder.js'
export { json } from './codec/json.js'
export { msgpack } from './codec/msgpack.js'
export { raw } from './codec/raw.js'
export {
  array,
  ascii,
  bool,
  bytes,
  type DefaultField,
  type DefaultFields,
  enumeration,
  type Field,
  type Fields,
  f32,
  f64,
  i8,
  i16,
  i32,
  i53,
  i64,
  u8,
  u16,
  u32,
  u53,
  u64,
  utf8,
  varArray,
  varBytes,
  varUtf8,
  withDefault,
} from './codec/struct/field.js'
export type { StructSchema } from './codec/struct/schema.js'
export {
  type GrownStruct,
  type StructCodec,
  type StructInput,
  type StructOptions,
  type StructValue,
  type StructView,
  struct,
  structFromSchema,
} from './codec/struct/struct.js'
export { text } from './codec/text.js'
export { type ValidatedOptions, validated } from './codec/validated.js'
export { crc32 } from './frame/crc32.js'
export type { DescribedGroup, DescribedMember, GroupSummary, Lag } from './model/administration.js'
export type { GroupKind, GroupMemberReport, GroupReport, GroupRules } from './model/group.js'
export type {
  BrokerMetrics,
  GroupMetrics,
  LatencyMetrics,
  MetricsReport,
  ProcessMetrics,
  PublishedMetrics,
  PublisherMetrics,
  ReceivedMetrics,
  SubscriberMetrics,
  TopicMetrics,
} from './model/metrics.js'
export type { MirrorStatus } from './model/mirror.js'
export type { Damage, RecoveryReport } from './model/recovery.js'
export type {
  BackupOptions,
  BackupProgress,
  BackupReport,
  DoctorReport,
  Finding,
  RepairOptions,
  RepairReport,
  Severity,
  TopicBackup,
  VerifyOptions,
  VerifyProgress,
  VerifyReport,
} from './model/reports.js'
export type {
  BrokerHealth,
  Durability,
  From,
  Overflow,
  PublisherDurability,
  Retention,
  RingInfo,
  TopicInfo,
  Watermarks,
} from './model/topic.js'
export type { ClientTls, Status, TcpOptions } from './placement/remote/options.js'
export {
  MpmcRing,
  type MpmcRingAttachOptions,
  type MpmcRingOptions,
  type RingCreateOptions,
  type RingHandle,
  type RingRole,
  removeRing,
  SpscByteRing,
  type SpscByteRingAttachOptions,
  type SpscByteRingOptions,
  SpscRing,
  type SpscRingAttachOptions,
  type SpscRingOptions,
} from './ring/index.js'
export type { Compression } from './wire/compression.js'
