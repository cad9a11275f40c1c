/**
 * Straight-line code for one struct, made with `new Function`. Of what users choose, only field names reach the source,
 * as JSON string literals of names that recordOf() has checked to be identifiers; numbers come from the layout, and
 * labels are passed in as values.
 *
 * The generated encoder does the common cases. Whatever it does not take as it is, it hands to the interpreter from the
 * start, which writes it or refuses it with the right words. So no rule stands in two places: a check here may be
 * stricter than the interpreter's, never laxer.
 */
import type { HermesError } from '../../base/errors.js'
import { isUint8Array, lengthOf } from '../../base/plain-bytes.js'
import type { Region } from '../codec.js'
import { copyOut } from '../region.js'
import { readAscii, readAscii8, readUtf8, readUtf8Field, writeUtf8, writeUtf8Field } from '../strings.js'
import type { StructCode, ViewBinder } from './code.js'
import { labelAt, readSafe, readValue } from './interpret.js'
import { type AnyLayout, isTrailing, type Layout, type RecordLayout } from './layout.js'

/** What the generated code may call. */
export interface GenerateHooks {
  readonly slowEncode: (value: unknown, target: Region, offset: number, limit: number) => number
  readonly checkLength: (length: number) => void
  /** Turns what a read threw into a HermesError. */
  readonly readError: (error: unknown) => HermesError
  readonly toJson: (value: Readonly<Record<string, unknown>>) => Record<string, unknown>
  readonly inspect: (view: { toObject(): Record<string, unknown> }, options: unknown) => unknown
  /** The view class of a nested struct. */
  readonly nested: (layout: RecordLayout) => ViewBinder
}

/** Whether this process allows `new Function` (`--disallow-code-generation-from-strings` forbids it). */
export const canGenerate: boolean = (() => {
  try {
    return new Function('return true')() === true
  } catch {
    return false
  }
})()

const helpers = {
  copyOut,
  isUint8Array,
  labelAt,
  lengthOf,
  readAscii,
  readAscii8,
  readSafe,
  readUtf8,
  readUtf8Field,
  writeUtf8,
  writeUtf8Field,
  inspectKey: Symbol.for('nodejs.util.inspect.custom'),
}

/** Collects the functions and constants that the main code refers to. */
class Source {
  readonly constants: unknown[] = []
  readonly functions: string[] = []
  #names = 0

  constant(value: unknown): string {
    const known = this.constants.indexOf(value)
    return `k${known >= 0 ? known : this.constants.push(value) - 1}`
  }

  name(prefix: string): string {
    return `${prefix}${this.#names++}`
  }
}

/** Generates the code of `layout`. Throws EvalError where code generation is forbidden: see `canGenerate`. */
export function generate(layout: RecordLayout, hooks: GenerateHooks): StructCode {
  const source = new Source()
  const encoder = emitEncoder(source, layout)
  const reader = emitRecordReader(source, layout)
  const view = emitView(source, layout, hooks, reader)
  const constants = source.constants.map((_, index) => `k${index}`).join(', ')
  const text = [
    `'use strict'`,
    `const { ${Object.keys(helpers).join(', ')} } = helpers`,
    'const { slowEncode, checkLength, readError, toJson, inspect } = hooks',
    constants === '' ? '' : `const [${constants}] = constants`,
    ...sharedReads,
    ...source.functions,
    encoder,
    view,
    `function decode(source, offset, length) {
      checkLength(length)
      try { return ${reader}(source.data, source.bytes, offset, length) } catch (error) { throw readError(error) }
    }`,
    'return { encode, decode, create: () => new StructView(), bind }',
  ].join('\n')
  const make = new Function('helpers', 'hooks', 'constants', text) as (...given: unknown[]) => StructCode
  return make(helpers, hooks, source.constants)
}

function emitEncoder(source: Source, layout: RecordLayout): string {
  const lines = emitWriteRecord(source, layout, 'value', 'offset', 0)
  let result = `${layout.size}`
  if (layout.trailing !== undefined) {
    const { name, type } = layout.trailing
    const start = `(offset + ${layout.size})`
    lines.push(`const rest = value[${JSON.stringify(name)}]`)
    if (type.element !== undefined) {
      lines.push(
        `if (typeof rest !== 'object' || rest === null) break fast`,
        'const count = rest.length',
        // Written so that NaN and undefined fail too.
        `if (!(count >= 0 && count * ${type.stride} <= limit - ${start}) || (count >>> 0) !== count) break fast`,
        ...emitLoop(source, type.element, 'rest', 'count', start),
      )
      result = `${layout.size} + count * ${type.stride}`
    } else if (type.kind === 'varBytes') {
      lines.push(
        `if (!isUint8Array(rest)) break fast`,
        // What a subclass says of its length may be something else.
        'const count = lengthOf(rest)',
        `if (count > limit - ${start}) break fast`,
        `if (count <= 32) for (let i = 0; i < count; i++) bytes[${start} + i] = rest[i]`,
        `else bytes.set(rest, ${start})`,
      )
      result = `${layout.size} + count`
    } else {
      lines.push(
        `if (typeof rest !== 'string') break fast`,
        `const count = writeUtf8(bytes, ${start}, limit, rest)`,
        'if (count < 0) break fast',
      )
      result = `${layout.size} + count`
    }
  }
  // A getter of the user's that throws throws again in the interpreter, which reports it.
  return `function encode(value, target, offset, limit) {
    fast: try {
      if (!(limit - offset >= ${layout.size}) || typeof value !== 'object' || value === null) break fast
      const data = target.data, bytes = target.bytes
      ${lines.join('\n')}
      return ${result}
    } catch {}
    return slowEncode(value, target, offset, limit)
  }`
}

/** An address: `base` is an expression of the generated code. */
function address(base: string, offset: number): string {
  return offset === 0 ? base : `${base} + ${offset}`
}

function emitWriteRecord(source: Source, layout: RecordLayout, value: string, base: string, start: number): string[] {
  const lines: string[] = []
  for (const { name, offset, type, fallback } of layout.fields) {
    const local = source.name('v')
    lines.push(
      `${fallback === undefined ? 'const' : 'let'} ${local} = ${value}[${JSON.stringify(name)}]`,
      ...(fallback === undefined
        ? []
        : [`if (${local} === undefined) ${local} = ${source.constant(fallbackValue(type, fallback))}`]),
      ...emitWrite(source, type, local, base, start + offset),
    )
  }
  for (const gap of layout.gaps) lines.push(...emitZeros(base, start + gap.offset, gap.length))
  return lines
}

function fallbackValue(type: Layout, bytes: Uint8Array): unknown {
  return readValue(type, { bytes, data: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength) }, 0)
}

function emitZeros(base: string, offset: number, length: number): string[] {
  if (length > 32) {
    return [`bytes.fill(0, ${address(base, offset)}, ${address(base, offset + length)})`]
  }
  const lines: string[] = []
  let at = 0
  for (; at + 4 <= length; at += 4) lines.push(`data.setInt32(${address(base, offset + at)}, 0, true)`)
  for (; at < length; at++) lines.push(`data.setUint8(${address(base, offset + at)}, 0)`)
  return lines
}

const integerTests: Readonly<Record<string, string>> = {
  u8: '& 255',
  i8: '<< 24 >> 24',
  u16: '& 65535',
  i16: '<< 16 >> 16',
  u32: '>>> 0',
  i32: '| 0',
}

const setters: Readonly<Record<string, string>> = {
  u8: 'setUint8',
  i8: 'setInt8',
  u16: 'setUint16',
  i16: 'setInt16',
  u32: 'setUint32',
  i32: 'setInt32',
}

function emitWrite(source: Source, type: Layout, v: string, base: string, offset: number): string[] {
  const at = address(base, offset)
  switch (type.kind) {
    case 'u8':
    case 'i8':
    case 'u16':
    case 'i16':
    case 'u32':
    case 'i32':
      return [
        `if (typeof ${v} !== 'number' || (${v} ${integerTests[type.kind]}) !== ${v}) break fast`,
        `data.${setters[type.kind]}(${at}, ${v}, true)`,
      ]
    case 'u53':
    case 'i53': {
      const low = source.name('low')
      const high = source.name('high')
      // The factor is 2^-32, so the product is exact.
      const [floor, bounds] =
        type.kind === 'u53'
          ? [`(${v} * 2.3283064365386963e-10) >>> 0`, `${high} > 2097151`]
          : [`Math.floor(${v} * 2.3283064365386963e-10) | 0`, `${high} > 2097151 || ${high} < -2097151`]
      return [
        `if (typeof ${v} !== 'number') break fast`,
        `const ${low} = ${v} >>> 0, ${high} = ${floor}`,
        // Fractions, NaN and numbers beyond 2^53 - 1 do not come back from their halves. -2^53 itself and the last
        // numbers above it are left to the interpreter.
        `if (${bounds} || ${high} * 4294967296 + ${low} !== ${v}) break fast`,
        `data.setUint32(${at}, ${low}, true)`,
        `data.setInt32(${address(base, offset + 4)}, ${high}, true)`,
      ]
    }
    case 'u64':
    case 'i64': {
      const [wrap, set] = type.kind === 'u64' ? ['asUintN', 'setBigUint64'] : ['asIntN', 'setBigInt64']
      return [
        `if (typeof ${v} !== 'bigint' || BigInt.${wrap}(64, ${v}) !== ${v}) break fast`,
        `data.${set}(${at}, ${v}, true)`,
      ]
    }
    case 'f32':
      return [
        `if (typeof ${v} !== 'number' || !(${v} >= -3.4e38 && ${v} <= 3.4e38)) break fast`,
        `data.setFloat32(${at}, ${v}, true)`,
      ]
    case 'f64':
      return [`if (typeof ${v} !== 'number') break fast`, `data.setFloat64(${at}, ${v}, true)`]
    case 'bool':
      return [`if (typeof ${v} !== 'boolean') break fast`, `data.setUint8(${at}, ${v} ? 1 : 0)`]
    case 'ascii':
      return [
        `if (typeof ${v} !== 'string' || ${v}.length > ${type.size}) break fast`,
        ...emitZeros(base, offset, type.size),
        `for (let i = 0, n = ${v}.length; i < n; i++) {`,
        `  const c = ${v}.charCodeAt(i)`,
        // One comparison for 0 and for all above 127.
        '  if ((c - 1) >>> 0 > 126) break fast',
        `  bytes[${at} + i] = c`,
        '}',
      ]
    case 'utf8':
      return [`if (typeof ${v} !== 'string' || !writeUtf8Field(bytes, ${at}, ${type.size}, ${v})) break fast`]
    case 'bytes':
      return [
        `if (!isUint8Array(${v}) || lengthOf(${v}) !== ${type.size}) break fast`,
        type.size <= 32
          ? `for (let i = 0; i < ${type.size}; i++) bytes[${at} + i] = ${v}[i]`
          : `bytes.set(${v}, ${at})`,
      ]
    case 'enum':
      return emitWriteEnum(
        source,
        type.labels,
        type.indexes,
        v,
        `data.${type.size === 1 ? 'setUint8' : 'setUint16'}(${at}, `,
      )
    case 'array':
      return [
        `if (typeof ${v} !== 'object' || ${v} === null || ${v}.length !== ${type.count}) break fast`,
        ...emitLoop(source, type.element, v, `${type.count}`, at),
      ]
    case 'struct':
      return [
        `if (typeof ${v} !== 'object' || ${v} === null) break fast`,
        ...emitWriteRecord(source, type, v, base, offset),
      ]
  }
}

/** Up to here comparing with one label after the other is faster than a Map. */
const fewLabels = 6

function emitWriteEnum(
  source: Source,
  labels: readonly string[],
  indexes: ReadonlyMap<unknown, number>,
  v: string,
  store: string,
): string[] {
  const index = source.name('index')
  if (labels.length > fewLabels) {
    return [
      `const ${index} = ${source.constant(indexes)}.get(${v})`,
      `if (${index} === undefined) break fast`,
      `${store}${index}, true)`,
    ]
  }
  const choice = labels.map((label, at) => `${v} === ${source.constant(label)} ? ${at} : `).join('')
  return [`const ${index} = ${choice}-1`, `if (${index} < 0) break fast`, `${store}${index}, true)`]
}

function emitLoop(source: Source, element: Layout, list: string, count: string, start: string): string[] {
  const index = source.name('i')
  const at = source.name('p')
  const item = source.name('v')
  return [
    `for (let ${index} = 0, ${at} = ${start}; ${index} < ${count}; ${index}++, ${at} += ${element.size}) {`,
    `const ${item} = ${list}[${index}]`,
    ...emitWrite(source, element, item, at, 0),
    '}',
  ]
}

/** Emits a function (data, bytes, at, length) that makes an owned object, and returns its name. */
function emitRecordReader(source: Source, layout: RecordLayout): string {
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

function emitRead(source: Source, type: Layout, base: string, offset: number): string {
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

function emitReadTrailing(source: Source, type: AnyLayout, size: number, at: string, length: string): string {
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
const sharedReads = [
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
function sharedRead(type: Layout, at: string): string | undefined {
  if (type.kind === 'ascii') return type.size === 8 ? `return getAscii8(this.#data, this.#bytes, ${at})` : undefined
  const name = sharedNames[type.kind]
  return name === undefined ? undefined : `return ${name}(this.#data, ${at})`
}

function emitView(source: Source, layout: RecordLayout, hooks: GenerateHooks, reader: string): string {
  const members: string[] = []
  // Short getters are inlined into handlers, so each declares only what it uses.
  const guarded = (expression: string): string => {
    const locals = [
      /\bdata\b/.test(expression) ? 'const data = this.#data' : '',
      /\bbytes\b/.test(expression) ? 'const bytes = this.#bytes' : '',
      /\bhigh\b/.test(expression) ? 'let high' : '',
    ]
    return `try { ${locals.join('; ')}; return ${expression} } catch (error) { throw readError(error) }`
  }
  for (const { name, offset, type } of layout.fields) {
    const key = JSON.stringify(name)
    if (type.kind === 'struct') {
      const binder = source.constant(hooks.nested(type))
      const slot = source.name('#nested')
      members.push(
        `${slot} = undefined`,
        `get ${key}() {
          const view = this.${slot} ??= ${binder}.create()
          ${binder}.bind(view, this.#region, this.#at + ${offset}, ${type.size})
          return view
        }`,
      )
      continue
    }
    const shared = sharedRead(type, address('this.#at', offset))
    members.push(`get ${key}() { ${shared ?? guarded(emitRead(source, type, 'this.#at', offset))} }`)
  }
  if (layout.trailing !== undefined) {
    const { name, type } = layout.trailing
    members.push(
      `get ${JSON.stringify(name)}() { ${guarded(emitReadTrailing(source, type, layout.size, 'this.#at', 'this.#length'))} }`,
    )
  }
  // Everything is private: the memory behind a view may be mapped read-only, where a write ends the process.
  return `let bind
  class StructView {
    #region = undefined
    #data = undefined
    #bytes = undefined
    #at = 0
    #length = 0
    static {
      bind = (view, region, at, length) => {
        if (view.#region !== region) {
          view.#region = region
          view.#data = region.data
          view.#bytes = region.bytes
        }
        view.#at = at
        view.#length = length
      }
    }
    ${members.join('\n')}
    toObject() { ${guarded(`${reader}(data, bytes, this.#at, this.#length)`)} }
    toJSON() { return toJson(this.toObject()) }
    [inspectKey](depth, options) { return inspect(this, options) }
  }`
}
