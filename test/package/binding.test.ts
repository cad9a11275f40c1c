import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import * as limits from '../../lib/model/limits.js'
import { native } from '../../lib/native/addon.js'
import { root } from '../helpers/folder.js'

const bindingFolder = join(root, 'native', 'binding')

/**
 * All that the binding takes of node-addon-api. None of it can fail while the environment ends. Everything else is called through
 * binding/js.h, whose functions return whether they worked.
 */
const allowed = new Set(['Addon', 'CallbackInfo', 'Env', 'Object', 'HandleScope', 'String', 'Value'])

function offences(source: string, file: string): string[] {
  const code = source.replace(/\/\/.*$/gm, '')
  const found: string[] = []
  for (const [text, name] of code.matchAll(/Napi::(\w+)/g)) if (!allowed.has(name as string)) found.push(text)
  // Members of Napi's classes: what follows an empty value, or a failure that leaves one.
  for (const [text] of code.matchAll(
    /[.>](?:As<|To(?:Boolean|Number|String|Object)\(|Get\(|Set\(|Has\(|Delete\(|Call\(|New\(|Unwrap\(|Utf8Value\(|Int(?:32|64)Value\(|Uint32Value\(|DoubleValue\(|Resolve\(|Reject\(|Detach\(|Data\(|ByteLength\(|ThrowAsJavaScriptException\()/g,
  )) {
    found.push(text)
  }
  // The dispatcher makes one name while the environment begins.
  const expected = file === 'dispatcher.cc' ? ['Napi::String::New('] : []
  for (const [text] of code.matchAll(/Napi::(?:String|Object|Value)::\w+\(/g))
    if (!expected.includes(text)) found.push(text)
  return found
}

describe('native/binding', () => {
  test('calls Node-API only in ways that hold while a worker is terminated', () => {
    const files = readdirSync(bindingFolder).filter((name) => /\.(h|cc)$/.test(name))
    expect(files.length).toBeGreaterThan(15)
    for (const file of files) {
      expect({ file, offences: offences(readFileSync(join(bindingFolder, file), 'utf8'), file) }).toEqual({
        file,
        offences: [],
      })
    }
  })

  test('would be told of the calls that ended the process', () => {
    for (const line of [
      'status = view->map(info[0].As<Napi::Number>().Int32Value());',
      'const auto stores = info[3].ToBoolean();',
      'result.Set("x", value);',
      'AppenderHandle::Unwrap(handle)->adopt(log);',
      'class A : public Napi::ObjectWrap<A> {};',
      'const auto name = Napi::String::New(env, "x");',
    ]) {
      expect(offences(line.replace('::Unwrap', '->Unwrap'), 'any.cc'), line).not.toEqual([])
    }
  })
})

describe('the raw addon throws and never aborts', () => {
  const addon = native as unknown as Record<string, new (...values: unknown[]) => object>
  const hostile: unknown[] = [
    undefined,
    null,
    1,
    -1,
    Number.NaN,
    1n,
    'x',
    'a\0b',
    Symbol('s'),
    true,
    {},
    [],
    () => 1,
    new ArrayBuffer(8),
    new SharedArrayBuffer(8),
    new Uint8Array(4),
    new Proxy(
      {},
      {
        get: () => {
          throw new Error('trap')
        },
      },
    ),
    { kind: 1, itemBytes: 8, capacity: 8, tag: 1, startIndex: 0, participants: 0, parking: true, fileMode: 384 },
    { segmentBytes: 'x', maxPayloadBytes: 1, fileMode: 2 },
  ]

  function outcome(call: () => unknown): string {
    try {
      call()
      return 'made'
    } catch (error) {
      return error instanceof TypeError ? 'TypeError' : ((error as { code?: string }).code ?? (error as Error).message)
    }
  }

  test.each(['openLog', 'RingFile', 'FileMapping'])('%s', (name) => {
    const made = addon[name]!
    expect(outcome(() => new made())).toBe('TypeError')
    expect(outcome(() => (made as unknown as () => unknown)())).toBe('TypeError')
    for (const first of hostile) {
      expect(
        outcome(() => new made(first)),
        String(typeof first),
      ).not.toBe('made')
      for (const second of hostile) {
        // A NUL would cut a path short; '' and 'x' in a folder that isn't there are errors with a code.
        const path = typeof first === 'string' && !first.includes('\0') ? '/nonexistent/x' : first
        expect(outcome(() => new made(path, second, second, second, second))).toMatch(/^(TypeError|trap|[A-Z_]+)$/)
      }
    }
  })

  test.each(['crc32', 'frameSealer', 'frameScanner', 'holdLock'])('%s', (name) => {
    const call = addon[name] as unknown as (...values: unknown[]) => unknown
    expect(outcome(() => call())).toBe('TypeError')
    for (const first of hostile) for (const second of hostile) outcome(() => call(first, second, first, second))
  })

  test('methods are called on their own kind only, and with what they take', () => {
    for (const kind of [native.openLog, native.RingFile, native.FileMapping]) {
      for (const method of Object.getOwnPropertyNames(kind.prototype)) {
        if (method === 'constructor') continue
        const call = (kind.prototype as unknown as Record<string, (...values: unknown[]) => unknown>)[method]!
        expect(outcome(() => call.call({}))).toBe('TypeError')
        expect(outcome(() => call.call(undefined))).toBe('TypeError')
        // Made without its constructor, and so without anything inside.
        outcome(() => call.call(Object.create(kind.prototype)))
      }
    }
  })
})

test('the limits that are checked without the addon are those of the addon', () => {
  expect(native.constants).toMatchObject({ ...limits })
})
