import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { regionOf } from '../../lib/codec/region.js'
import * as f from '../../lib/codec/struct/field.js'
import { Random } from '../../lib/testkit/random.js'
import { lineOf } from './growth-lines.js'
import { type AnyStruct, recordOf } from './struct-fuzz.js'

const counts = Number(process.env['HERMES_GROWTH_PAIRS'] ?? 1000)

/** Reads each payload with each schema, and says by its bytes what it has read. */
const program = `
import json, sys
from hermes_mq import struct
for line in sys.stdin:
    case = json.loads(line)
    codec = struct(case["schema"])
    assert codec.schema == case["schema"], codec.schema
    print(codec.encode(codec.decode(bytes.fromhex(case["payload"]))).hex())
`

function bytesOf(codec: AnyStruct, value: Record<string, unknown>): Buffer {
  const target = regionOf(new Uint8Array(8192))
  return Buffer.from(target.bytes.slice(0, codec.encode(value, target, 0, 8192)))
}

it(`Python reads what TypeScript writes, of each age: ${counts} pairs`, { timeout: 120_000 }, () => {
  const all = new Random(5)
  const cases: { input: string; expected: string }[] = []
  while (cases.length < counts) {
    const random = all.fork()
    const line = lineOf(random)
    for (const writer of line) {
      for (const reader of line) {
        const payload = bytesOf(writer, recordOf(f.layoutOf(writer, 'growth') as never, random))
        const value = reader.decode(regionOf(payload), 0, payload.length)
        cases.push({
          input: JSON.stringify({ schema: reader.schema, payload: payload.toString('hex') }),
          expected: bytesOf(reader, value).toString('hex'),
        })
      }
    }
  }
  const { stdout, stderr, status } = spawnSync('python3', ['-c', program], {
    input: cases.map(({ input }) => input).join('\n'),
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    env: { ...process.env, PYTHONPATH: join(import.meta.dirname, '../../clients/python') },
  })
  expect([status, stderr]).toEqual([0, ''])
  const found = stdout.trimEnd().split('\n')
  for (const [index, { input, expected }] of cases.entries()) expect(found[index], input).toBe(expected)
})
