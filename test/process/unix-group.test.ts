import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { foldersPerTest, root } from '../helpers/folder.js'

const folderOf = foldersPerTest()
const group = 64_010
const [anna, berta] = [64_001, 64_002]
const canChangeUser = process.geteuid?.() === 0 && spawnSync('setpriv', ['--version']).status === 0

/** Runs Node as a user whose own group is another one, and who is in the shared group besides. */
function run(user: number, args: string[]): string {
  const identity = ['--reuid', String(user), '--regid', String(user), '--groups', String(group)]
  const options = { encoding: 'utf8' as const, cwd: '/', timeout: 60_000 }
  return execFileSync('setpriv', [...identity, process.execPath, ...args], options)
}

function runMember(user: number, options: object): Record<string, number> {
  const program = join(root, 'test/process/programs/group-member.mjs')
  return JSON.parse(run(user, [program, JSON.stringify(options)])).found
}

/** What is not for the whole group in a folder: "path mode group". */
function exceptions(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const info = statSync(join(folder, name))
    const rights = info.isDirectory() ? 0o770 : 0o660
    const isShared = info.gid === group && (info.mode & rights) === rights
    return isShared ? [] : [`${name} ${(info.mode & 0o7777).toString(8)} ${info.gid}`]
  })
}

describe.skipIf(!canChangeUser)('a place that two Unix users of one group share', { timeout: 240_000 }, () => {
  test.each([0o770, 0o2770])('is for both, whoever makes topics and segments (folder of mode %o)', (mode) => {
    const folder = folderOf()
    chmodSync(folder, 0o755)
    const place = join(folder, 'place')
    mkdirSync(place)
    chownSync(place, anna, group)
    chmodSync(place, mode)
    const count = 600
    const shared = { place, count, read: [] }
    runMember(anna, { ...shared, mode: 0o660, publish: ['first'] })
    // Berta's process fills the segment, makes the next ones, and a topic of its own; it says nothing of a mode.
    runMember(berta, { ...shared, publish: ['first', 'second'] })
    const main = join(root, 'dist/cli/main.js')
    run(berta, [main, 'pub', 'third', 'text', '--dir', place])
    expect(exceptions(place)).toEqual([])
    if (mode === 0o2770) expect(statSync(join(place, 'topics/second')).mode & 0o2000).toBe(0o2000)
    expect(runMember(anna, { ...shared, publish: ['first', 'second'], read: ['first', 'second'] })).toEqual({
      first: 3 * count,
      second: 2 * count,
    })
    run(anna, [main, 'pub', 'third', 'more', '--dir', place])
    expect(runMember(berta, { ...shared, publish: ['first'], read: ['first', 'second'] })).toEqual({
      first: 4 * count,
      second: 2 * count,
    })
    expect(exceptions(place)).toEqual([])
  })

  test('what root makes in it belongs to the owner of the folder', () => {
    const folder = folderOf()
    chmodSync(folder, 0o755)
    const place = join(folder, 'place')
    mkdirSync(place)
    chownSync(place, anna, group)
    chmodSync(place, 0o770)
    const shared = { place, count: 600, read: [] }
    runMember(anna, { ...shared, mode: 0o660, publish: ['first'] })
    const program = join(root, 'test/process/programs/group-member.mjs')
    execFileSync(process.execPath, [program, JSON.stringify({ ...shared, publish: ['first', 'second'] })])
    expect(exceptions(place)).toEqual([])
    for (const name of readdirSync(place, { recursive: true, encoding: 'utf8' })) {
      expect(`${name} ${statSync(join(place, name)).uid}`).toBe(`${name} ${anna}`)
    }
    expect(runMember(anna, { ...shared, publish: ['second'], read: ['second'] })).toEqual({ second: 1200 })
  })
})
