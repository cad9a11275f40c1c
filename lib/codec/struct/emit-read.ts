import { type AnyLayout, isTrailing, type Layout, type RecordLayout } from './layout.js'
import { address, type Source } from './source.js'

/** What generate.ts writes of reading: of records, lists and trailing values. */
/** Emits a function (data, bytes, at, length) that makes an owned object, and returns its name. */
export function emitRecordReader(source: Source, layout: RecordLayout): string {
  const entries = layout.fields.map(
    ({ name, offset, type }) => `${JSON.stringify(name)}: ${emitRead(source, type, 'at', offset)}`,
  )
  if (layout.trailing !== undefined) {
    const { name, type } = layout.trailing
    entries.push(`${JSON.stringify(name)}: ${emitReadTrailing(source, type, layout.size, 'at', 'length')}`)
  }
  const name = source.name('read')
  source.functions.push(`function ${name}(data, bytes, at, length) { let high = 0; return { ${entries.join(', ')} } }`)
  return name
}

export function emitRead(source: Source, type: Layout, base: string, offset: number): string {
  const at = address(base, offset)
  switch (type.kind) {
    case 'u8':
      return `data.getUint8(${at})`
    case 'i8':
      return `data.getInt8(${at})`
    case 'u16':
      return `data.getUint16(${at}, true)`
    case 'i16':
      return `data.getInt16(${at}, true)`
    case 'u32':
      return `data.getUint32(${at}, true)`
    case 'i32':
      return `data.getInt32(${at}, true)`
    case 'u53':
    case 'i53': {
      // In place of a call: V8 puts a float that crosses a call on its heap. readSafe sorts the edges out.
      const [get, outside] =
        type.kind === 'u53' ? ['getUint32', 'high > 2097151'] : ['getInt32', 'high > 2097151 || high < -2097151']
      return `((high = data.${get}(${address(base, offset + 4)}, true), ${outside})
        ? readSafe(data.getUint32(${at}, true), high)
        : high * 4294967296 + data.getUint32(${at}, true))`
    }
    case 'u64':
      return `data.getBigUint64(${at}, true)`
    case 'i64':
      return `data.getBigInt64(${at}, true)`
    case 'f32':
      return `data.getFloat32(${at}, true)`
    case 'f64':
      return `data.getFloat64(${at}, true)`
    case 'bool':
      return `(data.getUint8(${at}) !== 0)`
    case 'ascii':
      return type.size === 8 ? `readAscii8(data, bytes, ${at})` : `readAscii(data, bytes, ${at}, ${type.size})`
    case 'utf8':
      return `readUtf8Field(data, bytes, ${at}, ${type.size})`
    case 'bytes':
      return `copyOut(bytes, ${at}, ${type.size})`
    case 'enum': {
      const labels = source.constant(type.labels)
      const stored = `data.${type.size === 1 ? 'getUint8' : 'getUint16'}(${at}, true)`
      return `(${labels}[${stored}] ?? labelAt(${labels}, ${stored}))`
    }
    case 'array':
      return `${emitListReader(source, type.element)}(data, bytes, ${at}, ${type.count})`
    case 'struct':
      return `${emitRecordReader(source, type)}(data, bytes, ${at})`
  }
}

/** Emits a function (data, bytes, at, count) that makes a new array, and returns its name. */
function emitListReader(source: Source, element: Layout): string {
  const expression = emitRead(source, element, 'at', 0)
  const name = source.name('list')
  source.functions.push(`function ${name}(data, bytes, at, count) {
    const list = []
    let high = 0
    for (let i = 0; i < count; i++, at += ${element.size}) list.push(${expression})
    return list
  }`)
  return name
}

export function emitReadTrailing(source: Source, type: AnyLayout, size: number, at: string, length: string): string {
  if (!isTrailing(type)) throw new TypeError('not a trailing part')
  const start = `${at} + ${size}`
  const rest = `${length} - ${size}`
  const read =
    type.element !== undefined
      ? `${emitListReader(source, type.element)}(data, bytes, ${start}, (${rest}) / ${type.stride})`
      : `${type.kind === 'varBytes' ? 'copyOut' : 'readUtf8'}(bytes, ${start}, ${rest})`
  // The length is read off the DataView first, so that released memory is noticed for an empty part too.
  return `(data.byteLength, ${read})`
}

/**
 * Reads that all views of a struct share, guarded once. A getter that only calls one of them has less than the 27 bytes of
 * bytecode that V8 inlines at any time, and the guards count once for each read and not for each getter: so a handler that
 * reads many fields stays within V8's budget for inlining. Beyond it each number read would be an object on the heap.
 */
export const sharedReads = [
  ...['getFloat64', 'getFloat32', 'getUint8', 'getInt8', 'getUint16', 'getInt16', 'getUint32', 'getInt32'].map(
    (get) =>
      `function ${get}(data, at) { try { return data.${get}(at, true) } catch (error) { throw readError(error) } }`,
  ),
  ...[
    ['getU53', 'getUint32', 'high > 2097151'],
    ['getI53', 'getInt32', 'high > 2097151 || high < -2097151'],
  ].map(
    ([name, get, outside]) => `function ${name}(data, at) {
      try {
        const high = data.${get}(at + 4, true)
        return ${outside} ? readSafe(data.getUint32(at, true), high) : high * 4294967296 + data.getUint32(at, true)
      } catch (error) { throw readError(error) }
    }`,
  ),
  `function getAscii8(data, bytes, at) {
    try { return readAscii8(data, bytes, at) } catch (error) { throw readError(error) }
  }`,
]

const sharedNames: Readonly<Record<string, string>> = {
  f64: 'getFloat64',
  f32: 'getFloat32',
  u8: 'getUint8',
  i8: 'getInt8',
  u16: 'getUint16',
  i16: 'getInt16',
  u32: 'getUint32',
  i32: 'getInt32',
  u53: 'getU53',
  i53: 'getI53',
}

/** The body of a getter that reads by a shared read, where there is one for the type. */
export function sharedRead(type: Layout, at: string): string | undefined {
  if (type.kind === 'ascii') return type.size === 8 ? `return getAscii8(this.#data, this.#bytes, ${at})` : undefined
  const name = sharedNames[type.kind]
  return name === undefined ? undefined : `return ${name}(this.#data, ${at})`
}
