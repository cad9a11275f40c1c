import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { json, open } from '../../lib/index.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { main, usePlace } from './helpers.js'

const messages = 20_000
const place = usePlace()
const { hermes } = place
const page = readFileSync(join(import.meta.dirname, '../../docs/operations.md'), 'utf8')
let good = ''
let segments: string[] = []

beforeAll(async () => {
  good = join(makeFolder(), 'good')
  const hermes = await open(good)
  const publisher = await hermes.topic('t', { codec: json, segmentBytes: 65_536 }).publisher()
  for (let n = 1; n <= messages; n++) publisher.publish(n)
  await publisher.close()
  const info = await hermes.info('t')
  await hermes.close()
  segments = readdirSync(join(good, 'topics/t'))
    .filter((name) => name.endsWith('.seg'))
    .sort()
    .slice(0, info.segments)
  writeFileSync(join(good, 'broker.lock'), '')
  writeFileSync(join(good, 'topics/t/producers.json'), '{"format":"hermes-producers","version":1,"producers":[]}')
  expect(segments.length).toBeGreaterThan(10)
})
afterAll(() => removeFolder(join(good, '..')))

const damages = {
  lost: (path: string) => rmSync(path),
  zeroed: (path: string) => writeFileSync(path, Buffer.alloc(statSync(path).size)),
  truncated: (path: string) => truncateSync(path, Math.floor(statSync(path).size / 2)),
}
type How = keyof typeof damages

/** Publishes once more, and reads all from the beginning: what comes is what was published, in order, and nothing else. */
async function works(dir: string): Promise<number> {
  const hermes = await open(dir, { create: false })
  const topic = hermes.topic<number>('t', { codec: json as never })
  const publisher = await topic.publisher()
  publisher.publish(-1)
  const last = publisher.lastSequence as number
  await publisher.close()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  let read = 0
  while (subscriber.position <= last) {
    const polled = subscriber.poll((value, { sequence }) => {
      expect(value).toBe(sequence === last ? -1 : sequence)
      read++
    }, 4096)
    if (polled === 0 && subscriber.lag === 0) break
  }
  expect(subscriber.position).toBe(last + 1)
  expect(await hermes.verify('t')).toMatchObject({ damage: [] })
  // (what a broker alone needs is told, and keeps nobody here away)
  const problems = (await hermes.doctor()).findings.filter(
    ({ severity, topic }) => severity === 'problem' && topic === 't',
  )
  expect(problems.filter(({ check }) => check !== 'broker-files')).toEqual([])
  await hermes.close()
  return read - 1
}

/** Which file, what doctor says of it, and how many messages are left at least after its remedy. */
const rows: readonly (readonly [name: string, file: () => string, how: How, says: RegExp, left: number])[] = [
  ['control', () => 'control', 'lost', /The file 'control' is lost/, messages],
  ['control', () => 'control', 'zeroed', /The header of the file 'control' is damaged/, messages],
  ['control', () => 'control', 'truncated', /The file 'control' has 20480 bytes/, messages],
  ['topic.json', () => 'topic.json', 'lost', /topic\.json is lost/, messages],
  ['topic.json', () => 'topic.json', 'zeroed', /topic\.json is damaged/, messages],
  ['topic.json', () => 'topic.json', 'truncated', /topic\.json is damaged/, messages],
  ['the oldest segment', () => segments[0] as string, 'lost', /Segment 1 is lost/, messages - 1700],
  ['the oldest segment', () => segments[0] as string, 'zeroed', /The header of segment 1 is damaged/, messages - 1700],
  [
    'the oldest segment',
    () => segments[0] as string,
    'truncated',
    /Segment 1 has 32768 bytes, not 65536/,
    messages - 900,
  ],
  ['a segment', () => segments[5] as string, 'lost', /Segment 6 is lost/, messages - 1700],
  ['a segment', () => segments[5] as string, 'zeroed', /The header of segment 6 is damaged/, messages - 1700],
  ['a segment', () => segments[5] as string, 'truncated', /Segment 6 has 32768 bytes, not 65536/, messages - 900],
  ['the newest segment', () => segments.at(-1) as string, 'lost', /Segment 13 is lost/, messages - 1700],
  [
    'the newest segment',
    () => segments.at(-1) as string,
    'zeroed',
    /The header of segment 13 is damaged/,
    messages - 1700,
  ],
  [
    'the newest segment',
    () => segments.at(-1) as string,
    'truncated',
    /Segment 13 has 32768 bytes, not 65536/,
    messages - 900,
  ],
  ['locks', () => 'locks', 'lost', /The file 'locks' was removed/, messages],
]

describe('every file of a topic, lost, zeroed and truncated', () => {
  test.each(rows)('%s %#: what doctor advises ends with a topic that works', async (name, file, how, says, left) => {
    const dir = join(place.folder, 'hermes-data')
    cpSync(good, dir, { recursive: true })
    damages[how](join(dir, 'topics/t', file()))
    const found = await hermes(['doctor'])
    expect(found.stdout).toMatch(says)
    expect(found.code).toBe(name === 'locks' ? 0 : 1)
    // The advice, as it stands there.
    const advice = /`hermes (repair[^`]*)`/.exec(found.stdout.slice(found.stdout.search(says)))?.[1] as string
    expect(advice).toMatch(name === 'topic.json' ? /^repair t --codec json$/ : /^repair( t)?$/)
    const command = advice === 'repair' ? ['repair', 't'] : advice.split(' ')
    const repaired = await hermes(command)
    expect([repaired.code, repaired.stderr]).toEqual([0, expect.any(String)])
    expect(await works(dir)).toBeGreaterThanOrEqual(left)
    if (how !== 'lost') expect(existsSync(join(dir, 'topics/t/quarantine'))).toBe(true)
  })

  test.each(['lost', 'zeroed', 'truncated'] as const)(
    'producers.json and broker.lock, %s, keep no local program away',
    async (how) => {
      const dir = join(place.folder, 'hermes-data')
      cpSync(good, dir, { recursive: true })
      damages[how](join(dir, 'topics/t/producers.json'))
      damages[how](join(dir, 'broker.lock'))
      // (it's the next broker that could not go on without a word)
      expect((await hermes(['doctor'])).code).toBe(how === 'lost' ? 0 : 1)
      expect(await works(dir)).toBe(messages)
    },
  )

  test.each(['lost', 'zeroed', 'truncated'] as const)(
    'hermes.json, %s, is made again as the message says',
    async (how) => {
      const dir = join(place.folder, 'hermes-data')
      cpSync(good, dir, { recursive: true })
      damages[how](join(dir, 'hermes.json'))
      const refused = await hermes(['verify'])
      expect(refused.code).toBe(how === 'lost' ? 3 : 5)
      expect(refused.stderr).toContain('made again when the place is opened to publish')
      rmSync(join(dir, 'hermes.json'), { force: true })
      expect((await hermes(['pub', 'other', 'x'])).code).toBe(0)
      expect(await works(dir)).toBe(messages)
    },
  )
})

/** What is no file, in the place of one. Opening the pipe waits for ever, reading the device never ends. */
const others = {
  'a folder': (path: string) => mkdirSync(path),
  'a pipe': (path: string) => execFileSync('mkfifo', [path]),
  'a link that leads nowhere': (path: string) => symlinkSync('/nowhere/file', path),
  'a link to itself': (path: string) => symlinkSync(path, path),
  'a link to /dev/zero': (path: string) => symlinkSync('/dev/zero', path),
}

describe.each(Object.keys(others) as (keyof typeof others)[])('%s in the place of a file', (what) => {
  const files: readonly (readonly [name: string, file: () => string, left: number])[] = [
    ['control', () => 'control', messages],
    ['locks', () => 'locks', messages],
    ['topic.json', () => 'topic.json', messages],
    ['the oldest segment', () => segments[0] as string, messages - 1700],
    ['a segment', () => segments[5] as string, messages - 1700],
    ['the newest segment', () => segments.at(-1) as string, messages - 1700],
  ]

  test.each(files)(
    '%s: every command ends, and what they advise ends with a topic that works',
    { timeout: 120_000 },
    async (name, file, left) => {
      const dir = join(place.folder, 'hermes-data')
      cpSync(good, dir, { recursive: true })
      const path = join(dir, 'topics/t', file())
      rmSync(path)
      others[what](path)
      const found = await hermes(['doctor'])
      expect(found.code).toBe(1)
      expect(found.stdout).toMatch(/not a file/)
      const ended = await Promise.all(
        [
          ['sub', 't', '--from', 'earliest', '--end'],
          ['info', 't'],
          ['verify'],
          ['backup', dir, join(place.folder, 'backup')],
        ].map((command) => hermes(command)),
      )
      // What was before a segment is printed, and a backup of what can be read is one; but nothing is called whole.
      for (const { code, stdout, stderr } of ended)
        if (code !== 0) expect(stdout + stderr).toMatch(/not a file|damaged|lost/)
      expect(ended[0]?.code).not.toBe(0)
      expect(ended[2]?.code).toBe(5)
      const advice = /`hermes (repair t[^`]*)`/.exec(found.stdout)?.[1] as string
      expect(advice).toBe(name === 'topic.json' ? 'repair t --codec json' : 'repair t')
      expect((await hermes(advice.split(' '))).code).toBe(0)
      expect(await works(dir)).toBeGreaterThanOrEqual(left)
      expect(readdirSync(join(dir, 'topics/t/quarantine')).some((kept) => kept.startsWith(file()))).toBe(true)
    },
  )

  test('hermes.json: the message says how to go on', async () => {
    const dir = join(place.folder, 'hermes-data')
    cpSync(good, dir, { recursive: true })
    const path = join(dir, 'hermes.json')
    rmSync(path)
    others[what](path)
    const refused = await hermes(['verify'])
    expect([refused.code, refused.stderr]).toEqual([
      3,
      expect.stringContaining('Move it away: it is made again when the place is opened to publish'),
    ])
    renameSync(path, join(place.folder, 'away'))
    expect((await hermes(['pub', 'other', 'x'])).code).toBe(0)
    expect(await works(dir)).toBe(messages)
  })
})

describe('folders of topics that are links', () => {
  test('to another disk: such a topic is listed, verified and backed up', async () => {
    const dir = join(place.folder, 'hermes-data')
    cpSync(good, dir, { recursive: true })
    renameSync(join(dir, 'topics/t'), join(place.folder, 'elsewhere'))
    symlinkSync(join(place.folder, 'elsewhere'), join(dir, 'topics/t'))
    expect((await hermes(['topics'])).lines).toEqual(['t'])
    expect((await hermes(['verify'])).stdout).toMatch(/^t: good: 20,000 messages/)
    expect((await hermes(['doctor'])).stdout).toContain('t:')
    expect((await hermes(['backup', dir, 'copy'])).lines).toEqual(['t: sequences 1 to 20,000'])
    expect(await works(dir)).toBe(messages)
    expect(await works(join(place.folder, 'copy'))).toBe(messages)
    const { url } = await place.serve()
    expect((await hermes(['topics', '--url', url])).lines).toEqual(['t'])
  })

  test('to a disk that is not there: nobody passes over it in silence', async () => {
    const dir = join(place.folder, 'hermes-data')
    await hermes(['pub', 'a', 'x'])
    symlinkSync('/nowhere/t', join(dir, 'topics/t'))
    const found = await hermes(['doctor'])
    expect([found.code, found.stdout]).toEqual([
      1,
      expect.stringMatching(/t: .*symbolic link to \/nowhere\/t, which does not exist/),
    ])
    const verified = await hermes(['verify'])
    expect([verified.code, verified.stdout]).toEqual([
      5,
      expect.stringMatching(/^a: good[\s\S]*\nt: DAMAGED: .*symbolic link to/),
    ])
    const copied = await hermes(['backup', dir, 'copy'])
    expect([copied.code, copied.stderr]).toEqual([3, expect.stringContaining('symbolic link to /nowhere/t')])
    expect(existsSync(join(place.folder, 'copy'))).toBe(false)
    expect((await hermes(['sub', 't', '--end'])).stderr).toContain('symbolic link to /nowhere/t')
    // The others go on.
    expect((await hermes(['pub', 'a', 'y'])).code).toBe(0)
    rmSync(join(dir, 'topics/t'))
    expect((await hermes(['doctor'])).code).toBe(0)
  })

  test('all of them to a disk that is not there: no command says that there are none', async () => {
    const dir = join(place.folder, 'hermes-data')
    cpSync(good, dir, { recursive: true })
    renameSync(join(dir, 'topics'), join(place.folder, 'away'))
    symlinkSync('/nowhere/topics', join(dir, 'topics'))
    for (const command of [['topics'], ['verify'], ['doctor'], ['backup', dir, 'copy'], ['pub', 't', '1']]) {
      const { code, stderr } = await hermes(command)
      expect([command[0], code, stderr]).toEqual([
        command[0],
        3,
        expect.stringContaining('symbolic link to /nowhere/topics'),
      ])
    }
    rmSync(join(dir, 'topics'))
    symlinkSync(join(place.folder, 'away'), join(dir, 'topics'))
    expect(await works(dir)).toBe(messages)
  })

  test('what is no folder is no topic, and doctor names it', async () => {
    const dir = join(place.folder, 'hermes-data')
    await hermes(['pub', 'a', 'x'])
    writeFileSync(join(dir, 'topics/README'), 'notes')
    execFileSync('mkfifo', [join(dir, 'topics/pipe')])
    const found = await hermes(['doctor'])
    expect([found.code, found.stdout]).toEqual([
      0,
      expect.stringMatching(
        /README is not a folder[\s\S]*pipe is not a folder|pipe is not a folder[\s\S]*README is not a folder/,
      ),
    ])
    expect((await hermes(['verify'])).stdout).toMatch(/^a: good/)
  })
})

/** Exit codes of commands that change nothing, and of `pub`, before anything is repaired. */
const answers: readonly (readonly [file: string, how: How, codes: readonly number[]])[] = [
  // file, how, [sub, info, doctor, verify, pub]
  ['control', 'lost', [0, 0, 1, 5, 0]],
  ['control', 'zeroed', [5, 5, 1, 5, 5]],
  ['control', 'truncated', [5, 5, 1, 5, 5]],
  ['topic.json', 'lost', [5, 5, 1, 5, 5]],
  ['topic.json', 'zeroed', [5, 5, 1, 5, 5]],
  ['topic.json', 'truncated', [5, 5, 1, 5, 5]],
  ['oldest', 'lost', [5, 0, 1, 5, 0]],
  ['oldest', 'zeroed', [5, 0, 1, 5, 5]],
  ['oldest', 'truncated', [5, 0, 1, 5, 5]],
  ['middle', 'lost', [5, 0, 1, 5, 5]],
  ['middle', 'zeroed', [5, 0, 1, 5, 5]],
  ['middle', 'truncated', [5, 0, 1, 5, 5]],
  ['newest', 'lost', [5, 5, 1, 5, 5]],
  ['newest', 'zeroed', [5, 5, 1, 5, 5]],
  ['newest', 'truncated', [5, 5, 1, 5, 5]],
  ['locks', 'lost', [0, 0, 0, 0, 0]],
  ['locks', 'zeroed', [0, 0, 0, 0, 0]],
  ['locks', 'truncated', [0, 0, 0, 0, 0]],
]

describe('before anything is repaired', () => {
  const named = (file: string) => ({ oldest: segments[0], middle: segments[5], newest: segments.at(-1) })[file] ?? file

  test.each(answers)('%s %s: every command ends, and none calls a part of it all', async (file, how, codes) => {
    const dir = join(place.folder, 'hermes-data')
    const commands = [
      ['sub', 't', '--from', 'earliest', '--end'],
      ['info', 't'],
      ['doctor'],
      ['verify'],
      ['pub', 't', '7'],
    ]
    const ended = []
    for (const command of commands) {
      cpSync(good, dir, { recursive: true })
      damages[how](join(dir, 'topics/t', named(file)))
      ended.push(await hermes(command))
      rmSync(dir, { recursive: true })
    }
    expect(ended.map(({ code }) => code)).toEqual(codes)
    const [sub] = ended
    if (sub?.code === 0) expect(sub.lines).toEqual(Array.from({ length: messages }, (_, at) => String(at + 1)))
    for (const { code, stdout, stderr } of ended)
      if (code === 5) expect(stdout + stderr).toMatch(/repair|Restore|restore/)
  })

  test.skipIf(process.getuid?.() !== 0)(
    'a file that may not be read is denied, not taken for lost (needs root)',
    async () => {
      const dir = join(place.folder, 'hermes-data')
      chmodSync(place.folder, 0o755)
      for (const file of ['control', 'topic.json', segments[0] as string]) {
        cpSync(good, dir, { recursive: true })
        chmodSync(join(dir, 'topics/t', file), 0)
        const { status } = spawnSync('chown', ['-R', '65534:65534', dir])
        expect(status).toBe(0)
        for (const command of [
          ['sub', 't', '--from', 'earliest', '--end'],
          ['pub', 't', '7'],
        ]) {
          const ended = spawnSync(process.execPath, [main, ...command], {
            cwd: place.folder,
            uid: 65_534,
            gid: 65_534,
            encoding: 'utf8',
            env: { ...process.env, HERMES_DIR: '' },
          })
          // (A publisher has no need of the oldest segment, but recovery looks at it.)
          expect([file, command[0], ended.status, ended.stdout]).toEqual([file, command[0], 4, ''])
        }
        rmSync(dir, { recursive: true })
      }
    },
  )
})

test('repair of a newest segment that was shortened gives none of its sequences out again', async () => {
  const dir = join(place.folder, 'hermes-data')
  cpSync(good, dir, { recursive: true })
  // In the middle of a frame.
  truncateSync(join(dir, 'topics/t', segments.at(-1) as string), 4100)
  expect((await hermes(['repair', 't'])).code).toBe(0)
  const info = async () => JSON.parse((await hermes(['info', 't', '--json'])).stdout).nextSequence
  expect(await info()).toBe(messages + 1)
  await works(dir)
  expect(await info()).toBe(messages + 2)
  expect((await hermes(['verify'])).code).toBe(0)
})

test('a topic whose topic.json is lost is listed, and verify of all comes upon it', async () => {
  await hermes(['pub', 'a', 'x'])
  await hermes(['pub', 'b', 'y'])
  rmSync(join(place.folder, 'hermes-data/topics/a/topic.json'))
  expect((await hermes(['topics'])).lines).toEqual(['a', 'b'])
  const { code, stdout } = await hermes(['verify'])
  expect([code, stdout]).toEqual([5, expect.stringMatching(/^a: DAMAGED: topic\.json is lost.*\nb: good/)])
})

test('one bad topic does not end verify of all', async () => {
  await hermes(['pub', 'a', 'x'])
  await hermes(['pub', 'b', 'y'])
  await hermes(['pub', 'c', 'z'])
  writeFileSync(join(place.folder, 'hermes-data/topics/a/topic.json'), '')
  writeFileSync(join(place.folder, 'hermes-data/topics/b/control'), '')
  const { code, stdout, stderr } = await hermes(['verify'])
  expect(code).toBe(5)
  expect(stdout).toMatch(/^a: DAMAGED: .*topic\.json.*\nb: DAMAGED: [\s\S]*\nc: good: 1 message/)
  expect(stderr).toContain('2 topics of 3')
})

test('repair changes no file of a topic that somebody has open', async () => {
  const dir = join(place.folder, 'hermes-data')
  cpSync(good, dir, { recursive: true })
  const other = place.start(['sub', 't'])
  await new Promise((resolve) => setTimeout(resolve, 1500))
  rmSync(join(dir, 'topics/t', segments[5] as string))
  const refused = await hermes(['repair', 't'])
  expect([refused.code, refused.stderr]).toEqual([9, expect.stringContaining('only while no process has it open')])
  other.child.kill('SIGTERM')
  await other.ended
  expect((await hermes(['repair', 't'])).code).toBe(0)
  await works(dir)
})

test('docs/operations.md has what is seen, file by file', () => {
  const table = page.split('## Lost and damaged files')[1]?.split('\n## ')[0] as string
  for (const file of ['control', 'topic.json', 'locks', 'producers.json', 'broker.lock', 'hermes.json'])
    expect(table).toContain(`${file}\``)
  for (const text of ["The file 'control' is lost", 'topic.json is lost', 'Segment 1 is lost', 'Segment 13 is lost'])
    expect(table).toContain(text)
})
