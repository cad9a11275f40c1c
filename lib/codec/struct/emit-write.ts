import { readValue } from './interpret.js'
import type { Layout, RecordLayout } from './layout.js'
import { address, type Source } from './source.js'

/** What generate.ts writes of an encoder: the common cases; everything else goes to the interpreter. */
export function emitEncoder(source: Source, layout: RecordLayout): string {
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
