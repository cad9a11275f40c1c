import { describe, expect, it } from 'vitest'
import * as fields from '../../lib/codec/struct/field.js'
import { struct, structFromSchema } from '../../lib/codec/struct/struct.js'
import { decodeBytes, encodeBytes, failure, hex, viewBytes } from './helpers.js'
import { structCases } from './struct-cases.js'

type Json = Record<string, unknown>

describe('structFromSchema', () => {
  it.each(structCases(fields, struct))('makes an equal codec of the schema of $name', ({ codec, values }) => {
    const again = structFromSchema(JSON.parse(JSON.stringify(codec.schema)))
    expect(again.fingerprint).toBe(codec.fingerprint)
    expect(again.schema).toEqual(codec.schema)
    for (const value of values) {
      const payload = encodeBytes(codec, value as never)
      expect(hex(encodeBytes(again, value as never))).toBe(hex(payload))
      expect(decodeBytes(again, payload)).toEqual(decodeBytes(codec, payload))
      expect(viewBytes(again, payload).toObject()).toEqual(viewBytes(codec, payload).toObject())
    }
  })

  const Sample = struct(
    {
      a: fields.u32,
      b: fields.array(struct({ c: fields.f64 }), 2),
      d: fields.enumeration(['x', 'y']),
      e: fields.varUtf8(),
    },
    { name: 'Sample' },
  )

  /** The schema of Sample, with one key of it changed. Undefined takes the key out. */
  function topLevel(key: string, value: unknown): Json {
    const schema = JSON.parse(JSON.stringify(Sample.schema)) as Json
    schema[key] = value
    return schema
  }

  /** The same, with one key of a field changed. */
  function inField(index: number, key: string, value: unknown): Json {
    const list = JSON.parse(JSON.stringify(Sample.schema.fields)) as Json[]
    list[index] = { ...list[index], [key]: value }
    return topLevel('fields', list)
  }

  it.each<[string, unknown]>([
    ['null', null],
    ['a string', 'schema'],
    ['an array', []],
    ['an empty object', {}],
    ['another format', topLevel('format', 'protobuf')],
    ['another version', topLevel('version', 2)],
    ['no fingerprint', topLevel('fingerprint', undefined)],
    ['another fingerprint', topLevel('fingerprint', '0'.repeat(16))],
    ['a name that is code', topLevel('name', '`);process.exit()')],
    ['a size that is wrong', topLevel('size', 8)],
    ['an alignment that is wrong', topLevel('align', 1)],
    ['an offset that is wrong', inField(1, 'offset', 4)],
    ['a negative offset', inField(0, 'offset', -4)],
    ['a trailing offset that is wrong', inField(3, 'offset', 0)],
    ['an unknown type', inField(0, 'type', 'u128')],
    ['a type from the prototype', inField(0, 'type', 'toString')],
    ['a type that is an object', inField(0, 'type', {})],
    ['a field without a name', inField(0, 'name', undefined)],
    ['a field name that is code', inField(0, 'name', '"];process.exit(9);["')],
    ['a field name that is reserved', inField(0, 'name', '__proto__')],
    ['two fields of one name', inField(1, 'name', 'a')],
    ['a huge count', inField(1, 'count', 1e9)],
    ['a negative count', inField(1, 'count', -1)],
    ['a count that is no number', inField(1, 'count', '2')],
    ['an array without an element', inField(1, 'element', undefined)],
    ['an array of variable length', inField(1, 'element', { type: 'varUtf8' })],
    ['labels that are no array', inField(2, 'labels', { length: 2 })],
    ['labels that are no strings', inField(2, 'labels', [1, 2])],
    [
      'a field after the trailing part',
      topLevel('fields', [...Sample.schema.fields, { name: 'z', offset: 0, type: 'u8', size: 1 }]),
    ],
    ['fields that are no array', topLevel('fields', { 0: {} })],
    ['a million fields', topLevel('fields', new Array(1_000_000).fill({ name: 'a', type: 'u8' }))],
  ])('refuses %s', (_what, schema) => {
    failure('INVALID_ARGUMENT', () => structFromSchema(schema))
  })

  it('refuses nesting without end', () => {
    let inner: Json = { type: 'u8', size: 1 }
    for (let level = 0; level < 5000; level++) inner = { type: 'array', size: 1, count: 1, element: inner }
    failure('INVALID_ARGUMENT', () => structFromSchema(inField(1, 'element', inner)))
    let record: Json = { name: 'a', type: 'u8', size: 1, offset: 0 }
    for (let level = 0; level < 5000; level++)
      record = { name: 'a', type: 'struct', size: 1, align: 1, offset: 0, fields: [record] }
    failure('INVALID_ARGUMENT', () => structFromSchema(topLevel('fields', [record])))
  })
})
