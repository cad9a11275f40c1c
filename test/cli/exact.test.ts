import { writeFileSync } from 'node:fs'
import { expect, test, vi } from 'vitest'
import { usePlace } from './helpers.js'

const place = usePlace()
const { hermes } = place

// Each is a dozen programs one after the other.
vi.setConfig({ testTimeout: 120_000 })

test('JSON is kept as it is written, after it was checked', async () => {
  const values = ['{"id":9007199254740993}', '{ "a": 1e400,  "b": 1.0 }', '{"__proto__":{"x":1},"a":"\\ud800"}', '-0']
  const { code } = await hermes(['pub', 'j', '--codec', 'json'], { input: `${values.join('\n')}\n` })
  expect(code).toBe(0)
  expect(await place.read('j')).toEqual(values)
  expect((await place.read('j', '--json')).map((line) => line.replace(/^.*?"value":/, ''))).toEqual(
    values.map((value) => `${value}}`),
  )
  const refused = await hermes(['pub', 'j', '{"a":01}'])
  expect([refused.code, refused.stderr]).toEqual([7, expect.stringContaining('not JSON')])
})

test('what sub --json prints is copied by pub --json: text with line ends, bytes, numbers of any size', async () => {
  const text = ['one\ntwo\r\n', 'a "quoted" one', '', '{"sequence":1,"timestampNs":"1","value":"x"}']
  await hermes(['pub', 't', '--', ...text])
  const printed = await hermes(['sub', 't', '--from', 'earliest', '--end', '--json'])
  expect((await hermes(['pub', 'copy', '--json', '--codec', 'text'], { input: printed.stdout })).code).toBe(0)
  const copied = await hermes(['sub', 'copy', '--from', 'earliest', '--end', '--json'])
  expect(copied.lines.map((line) => JSON.parse(line).value)).toEqual(text)

  await hermes(['pub', 'r', '--codec', 'raw', '--encoding', 'hex', '00ff0a0d', 'fe'])
  const bytes = await hermes(['sub', 'r', '--from', 'earliest', '--end', '--json'])
  await hermes(['pub', 'r2', '--json', '--codec', 'raw'], { input: bytes.stdout })
  expect(await place.read('r2', '--encoding', 'hex')).toEqual(['00ff0a0d', 'fe'])

  await hermes(['pub', 'j', '--codec', 'json', '{"id":9007199254740993}'])
  const json = await hermes(['sub', 'j', '--from', 'earliest', '--end', '--json'])
  await hermes(['pub', 'j2', '--json', '--codec', 'json'], { input: json.stdout })
  expect(await place.read('j2')).toEqual(['{"id":9007199254740993}'])

  await hermes(['pub', 's', '--schema', '{"a":"u64","format":"utf8(8)"}', '{"a":18446744073709551615,"format":"x"}'])
  const struct = await hermes(['sub', 's', '--from', 'earliest', '--end', '--json'])
  await hermes(['pub', 's2', '--json', '--schema', '{"a":"u64","format":"utf8(8)"}'], { input: struct.stdout })
  expect(await place.read('s2')).toEqual(['{"a":"18446744073709551615","format":"x"}'])
})

test('msgpack refuses a number that it would change', async () => {
  for (const value of ['{"id":9007199254740993}', '[1e400]']) {
    const { code, stderr } = await hermes(['pub', 'm', '--codec', 'msgpack', value])
    expect([code, stderr]).toEqual([7, expect.stringContaining("can't be held exactly")])
  }
  expect((await hermes(['pub', 'm', '--codec', 'msgpack', '{"id":"9007199254740993","n":1.5e3}'])).code).toBe(0)
})

test('replay changes nothing silently', async () => {
  const latin = Buffer.from('{"a":"\xe9"}\n', 'latin1')
  const bad = async (name: string, content: string | Uint8Array, ...args: string[]) => {
    writeFileSync(`${place.folder}/${name}`, content)
    const { code, stderr } = await hermes(['replay', name, name.replace('.', '-'), '--speed', 'max', ...args])
    expect([code, stderr]).toEqual([7, expect.stringMatching(/UTF-8|1e400|no time/)])
  }
  await bad('bad.ndjson', latin)
  await bad('bad.csv', Buffer.from('a,b\n\xe9,1\n', 'latin1'), '--codec', 'json')
  await bad('time.csv', 'at,b\nfoo 1,2\n', '--time', 'at', '--codec', 'json', '--speed', '10')
  await bad('huge.csv', 'a\n1e400\n', '--schema', '{"a":"f64"}')

  writeFileSync(`${place.folder}/good.ndjson`, '\ufeff{"id":9007199254740993}\n{"__proto__":1}\n')
  expect((await hermes(['replay', 'good.ndjson', 'n', '--speed', 'max'])).code).toBe(0)
  expect(await place.read('n')).toEqual(['{"id":9007199254740993}', '{"__proto__":1}'])
  writeFileSync(`${place.folder}/good.csv`, '__proto__,b,c\n1e400,true,1\n')
  expect((await hermes(['replay', 'good.csv', 'c', '--speed', 'max', '--codec', 'json'])).code).toBe(0)
  expect(await place.read('c')).toEqual(['{"__proto__":"1e400","b":true,"c":1}'])
  const refused = await hermes(['replay', 'good.csv', 'c2', '--speed', 'max'])
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('__proto__')])
})

test('dates and schemas that can not be are refused', async () => {
  await hermes(['pub', 't', 'x'])
  for (const from of ['2026-02-31', '2026-02', '2026-13-01T00:00:00Z', '2026-01-01 foo']) {
    const { code } = await hermes(['sub', 't', '--from', from, '--end'])
    expect([from, code]).toEqual([from, from === '2026-02' ? 0 : 2])
  }
  const deep = `${'{"a":'.repeat(20_000)}"f64"${'}'.repeat(20_000)}`
  const { code, stderr } = await hermes(['pub', 's', '--schema', deep, '{}'])
  expect([code, stderr]).toEqual([2, expect.stringContaining('nested')])
})
