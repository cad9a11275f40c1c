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
import { emitRead, emitReadTrailing, emitRecordReader, sharedRead, sharedReads } from './emit-read.js'
import { emitEncoder } from './emit-write.js'
import { labelAt, readSafe } from './interpret.js'
import type { RecordLayout } from './layout.js'
import { address, Source } from './source.js'

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
