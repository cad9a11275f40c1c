import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Victim } from './victim.js'

/** HERMES_ATTACK_MS: longer attacks, with more topics; the figures are printed. */
const longMs = Number(process.env['HERMES_ATTACK_MS'] ?? 0)
const attackMs = longMs || 1200
/** Beyond what the machine itself takes, which a round trip to another process tells. */
const mostMs = { p99: 100, worst: 500 }
/** The broker has more to do for a message than that process. */
const timesControl = 4

const attacker = join(import.meta.dirname, 'attacker.mjs')
const kinds = execFileSync(process.execPath, [attacker, '0', 'list', '0'], { encoding: 'utf8' }).split(' ')

let dir: string
let victim: Victim

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'hermes-victim-'))
  victim = await Victim.start(dir, longMs > 0 ? 500 : 100, 300_000)
}, 120_000)

afterAll(async () => {
  await victim.close()
  await rm(dir, { recursive: true, force: true })
})

describe('a well-behaved client is served in time', () => {
  for (const kind of kinds) {
    it(`while others flood the broker: ${kind}`, async () => {
      const { count, p99, worst, control, attackBytes } = await victim.under(kind, attackMs)
      if (longMs > 0)
        process.stdout.write(
          `${kind.padEnd(16)} ${String(count).padStart(6)} trips, p99 ${p99.toFixed(1)} ms, worst ${worst.toFixed(1)} ms (control: p99 ${control.p99.toFixed(1)}, worst ${control.worst.toFixed(1)}), ${attackBytes} bytes of attack\n`,
        )
      expect(count).toBeGreaterThan(attackMs / 200)
      expect(p99).toBeLessThan(mostMs.p99 + timesControl * control.p99)
      expect(worst).toBeLessThan(mostMs.worst + timesControl * control.worst)
      if (kind !== 'none' && kind !== 'strangers' && kind !== 'garbage') expect(attackBytes).toBeGreaterThan(300)
    }, 60_000)
  }
})
