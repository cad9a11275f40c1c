import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { root } from '../helpers/folder.js'
import { natsMissing } from '../helpers/nats-server.js'

/*
 * A few rounds of `npm run campaign -- cluster`, which has a hundred of each kind, and proof that its oracle can fail.
 */

interface Written {
  readonly sent: number
  readonly acknowledged: ReadonlyMap<string, number>
  readonly failures: readonly unknown[]
}
interface Read {
  readonly sequence: number
  readonly value: string
}
interface Outcome {
  readonly rounds: number
  readonly messages: number
  readonly violations: readonly { readonly message: string }[]
}

const scripts = (name: string) => import(pathToFileURL(join(root, 'scripts/cluster', name)).href)
const { faultsOf, mirrorFaultsOf } = (await scripts('oracle.mjs')) as {
  faultsOf(
    stored: Iterable<[number, string]>,
    seen: Iterable<[number, string]>,
    writers: readonly Written[],
  ): readonly string[]
  mirrorFaultsOf(original: readonly Read[], mirrored: readonly Read[], isSame: boolean): readonly string[]
}
const { namespacesMissing } = (await scripts('namespaces.mjs')) as { namespacesMissing(): string | undefined }
const networkMissing = natsMissing ?? namespacesMissing()

const seed = Number(process.env['HERMES_CLUSTER_SEED'] ?? Date.now() % 100_000)
const endMs = 300_000

/** Runs the script, which prints one JSON document. */
async function campaign(args: readonly string[]): Promise<Record<string, unknown>> {
  const command = [join(root, 'scripts/campaign.mjs'), 'cluster', '--json', '--seed', String(seed), ...args]
  const child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'] })
  let printed = ''
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  await new Promise((resolve) => child.once('close', resolve))
  const last = printed.trim().split('\n').at(-1) ?? ''
  if (!last.startsWith('{')) throw new Error(`the campaign did not end in order: ${printed}\n${said}`)
  return JSON.parse(last)
}

async function rounds(kinds: readonly string[], count: number): Promise<void> {
  const { results } = await campaign(['--kinds', kinds.join(), '--rounds', String(count), '--dist', join(root, 'dist')])
  for (const [kind, outcome] of Object.entries(results as Record<string, Outcome>)) {
    expect([kind, outcome.violations]).toEqual([kind, []])
    expect([kind, outcome.rounds]).toEqual([kind, count])
    expect(outcome.messages).toBeGreaterThan(100)
  }
}

describe(`a cluster of three (seed ${seed})`, { concurrent: true, timeout: endMs }, () => {
  it.skipIf(natsMissing !== undefined)('loses, doubles and moves nothing when its leader is killed or stopped', () =>
    rounds(['killed', 'stopped'], 1),
  )

  it.skipIf(networkMissing !== undefined)('nor when its leader or the client is cut off', () =>
    rounds(['partitioned', 'cut'], 1),
  )

  it.skipIf(natsMissing !== undefined)('mirrors each message once, by bridges that are killed and that race', () =>
    rounds(['bridge', 'race'], 2),
  )

  it.skipIf(natsMissing !== undefined)('has a campaign that finds what is wrong', async () => {
    expect(await campaign(['--mutants', 'compares-nothing,leaves-out'])).toMatchObject({ missed: [] })
  })
})

describe('the oracle of the campaign', () => {
  const log: [number, string][] = [
    [1, 'w0:0'],
    [2, 'w0:1'],
  ]
  const writer = {
    acknowledged: new Map([
      ['w0:0', 1],
      ['w0:1', 2],
    ]),
    failures: [] as unknown[],
    sent: 2,
  }

  it('finds what publishers and subscribers can suffer', () => {
    expect(faultsOf(log, log, [writer])).toEqual([])
    expect(faultsOf([...log, [3, 'w0:1']], log, [writer])).toContain('something is stored twice')
    expect(faultsOf([...log, [2, 'w0:1']], log, [writer])).toContain('a sequence was read twice')
    expect(faultsOf(log.slice(0, 1), log.slice(0, 1), [writer]).join()).toContain('w0:1 was acknowledged as 2')
    const moved: [number, string][] = [
      [1, 'w0:1'],
      [2, 'w0:0'],
    ]
    expect(faultsOf(moved, moved, [writer]).join()).toContain('order of w0')
    expect(faultsOf(log, [], [writer])).toContain(
      'the subscriber saw 0 of 2, and as number 0 undefined in place of 1,w0:0',
    )
    expect(faultsOf(log, log, [{ ...writer, sent: 3 }]).join()).toContain('2 of 3')
    expect(faultsOf(log, log, [{ ...writer, failures: ['x'] }]).join()).toContain('failed')
  })

  it('finds what mirrors can suffer', () => {
    const original = log.map(([sequence, value]) => ({ sequence, value }))
    const [first, second] = original as [Read, Read]
    for (const isSame of [false, true]) {
      const faults = (mirrored: readonly Read[]) => mirrorFaultsOf(original, mirrored, isSame).join()
      expect(faults(original)).toBe('')
      expect(faults([first])).toContain('has 1 messages, and its topic 2')
      expect(faults([first, second, second])).toContain('has 3 messages')
      expect(faults([second, first])).toContain('message 0 of the mirror')
      expect(faults([first, { ...second, sequence: 1 }])).toContain('message 1 of the mirror')
      expect(faults([first, { ...second, sequence: 3 }]) === '').toBe(!isSame)
    }
  })
})
