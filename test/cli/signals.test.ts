import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { main, usePlace } from './helpers.js'

const place = usePlace()
const { hermes, start } = place

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('sub ends with the code of %s, and what it had is printed', async (signal, code) => {
  await hermes(['pub', 'beat', 'a', 'b'])
  for (const wait of ['adaptive', 'spin', 'yield', 'park']) {
    const sub = start(['sub', 'beat', '--from', 'earliest', '--wait', wait])
    await sub.until('b\n')
    sub.child.kill(signal)
    const ended = await sub.ended
    expect([ended.code, ended.stdout, ended.stderr]).toEqual([code, 'a\nb\n', ''])
  }
})

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)(
  'pub ends with the code of %s: its publisher is closed, what it took is published',
  async (signal, code) => {
    const pub = start(['pub', 'chat', '--batch', '2'])
    // The third line waits for a fourth one, in vain.
    pub.child.stdin?.write('one\ntwo\nthree\n')
    const sub = await hermes(['sub', 'chat', '--await', '--from', 'earliest', '--count', '2'])
    expect(sub.lines).toEqual(['one', 'two'])
    pub.child.kill(signal)
    const ended = await pub.ended
    expect(ended.code).toBe(code)
    expect(await place.read('chat')).toEqual(['one', 'two', 'three'])
    const info = JSON.parse((await hermes(['info', 'chat', '--json'])).stdout)
    expect(info.publishers).toBe(0)
  },
)

test('replay stops in the middle of its pace, and says how far it came', async () => {
  const file = place.file('slow.csv', 't,n\n0,1\n1,2\n3600,3\n')
  const replay = start(['replay', file, 'slow', '--time', 't', '--speed', '100', '--json'])
  await hermes(['sub', 'slow', '--await', '--from', 'earliest', '--count', '2'])
  replay.child.kill('SIGINT')
  const { code, stdout } = await replay.ended
  expect(code).toBe(130)
  expect(JSON.parse(stdout)).toMatchObject({ published: 2 })
})

test('sub ends without a complaint when its reader has gone', async () => {
  const input = Array.from({ length: 200_000 }, (_, index) => `line ${index}\n`).join('')
  await hermes(['pub', 'many', '--batch', '256'], { input })
  // No --end: without the closed pipe it would go on for ever.
  const shell = `set -o pipefail; "$0" "$1" sub many --from earliest | head -n 2`
  const child = spawn('bash', ['-c', shell, process.execPath, main], { cwd: place.folder })
  const chunks = { out: '', error: '' }
  child.stdout.on('data', (chunk) => {
    chunks.out += chunk
  })
  child.stderr.on('data', (chunk) => {
    chunks.error += chunk
  })
  const [code] = await once(child, 'close')
  expect([code, chunks.out, chunks.error]).toEqual([0, 'line 0\nline 1\n', ''])
})

test('a closed stderr does not end a command', async () => {
  const child = spawn('bash', ['-c', '"$0" "$1" pub many a b 2>&-', process.execPath, main], { cwd: place.folder })
  const [code] = await once(child, 'close')
  expect(code).toBe(0)
  expect(await place.read('many')).toEqual(['a', 'b'])
})

test('a full disk behind stdout is a failure', async () => {
  await hermes(['pub', 'many', 'a'])
  const shell = '"$0" "$1" sub many --from earliest --end > /dev/full'
  const child = spawn('bash', ['-c', shell, process.execPath, main], { cwd: place.folder })
  let stderr = ''
  child.stderr.on('data', (chunk) => {
    stderr += chunk
  })
  const [code] = await once(child, 'close')
  expect(stderr).toContain('ENOSPC')
  expect(code).toBe(6)
})

test.each(['sub', 'tail'])('%s ends when its reader has gone, though no message comes', async (command) => {
  await hermes(['pub', 'calm', 'one'])
  const where = command === 'sub' ? ['--from', 'earliest'] : ['--follow']
  const shell = `set -o pipefail; "$0" "$@" | head -n 1`
  const child = spawn('bash', ['-c', shell, process.execPath, main, command, 'calm', ...where], { cwd: place.folder })
  const [code] = await once(child, 'close')
  expect(code).toBe(0)
})
