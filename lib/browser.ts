/**
 * What `hermes-mq` is in a bundle for browsers: the same, over WebSockets only, without rings, and without Node. Its types are those of index.ts.
 */
export { errorCodes, HermesError } from './base/errors.js'
export { version } from './base/version.js'
export { open } from './client/open-web.js'
export { custom } from './codec/custom.js'
export { Decoder } from './codec/decoder.js'
export { Encoder } from './codec/encoder.js'
export { json } from './codec/json.js'
export { msgpack } from './codec/msgpack.js'
export { raw } from './codec/raw.js'
export {
  array,
  ascii,
  bool,
  bytes,
  enumeration,
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
export { struct, structFromSchema } from './codec/struct/struct.js'
export { text } from './codec/text.js'
export { validated } from './codec/validated.js'
export { crc32 } from './frame/crc32.js'
