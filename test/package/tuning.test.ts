import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const script = join(root, 'scripts/linux-tuning.sh')

/** A machine whose settings are files of our own. */
const asItWas: Readonly<Record<string, string>> = {
  '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n',
  '/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor': 'performance\n',
  '/sys/kernel/mm/transparent_hugepage/defrag': 'always defer defer+madvise [madvise] never\n',
  '/sys/devices/system/cpu/isolated': '\n',
  '/sys/devices/system/cpu/online': '0-1\n',
  '/proc/sys/vm/stat_interval': '1\n',
  '/proc/sys/vm/swappiness': '5\n',
  '/proc/sys/vm/dirty_background_bytes': '0\n',
  '/proc/sys/vm/dirty_background_ratio': '10\n',
  '/proc/sys/net/core/somaxconn': '4096\n',
}

function machine() {
  const place = folder()
  for (const [path, text] of Object.entries(asItWas)) {
    mkdirSync(dirname(join(place, path)), { recursive: true })
    writeFileSync(join(place, path), text)
  }
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync('bash', [script, ...args], {
      encoding: 'utf8',
      input: '',
      env: { ...process.env, HERMES_TUNING_ROOT: place, HERMES_TUNING_HERMES: join(place, 'no-hermes') },
    })
    return { status, stdout, stderr }
  }
  const read = (path: string) => readFileSync(join(place, path), 'utf8').trim()
  return { place, run, read }
}

test('check says what is to be done, why, and changes nothing', () => {
  const { run, read } = machine()
  const { status, stdout } = run('check')
  expect(status).toBe(1)
  expect(stdout).toContain(
    'do    /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor = powersave, better performance: a core',
  )
  expect(stdout).toContain('ok    /sys/devices/system/cpu/cpu1/cpufreq/scaling_governor = performance')
  expect(stdout).toContain('ok    /sys/kernel/mm/transparent_hugepage/defrag = madvise')
  expect(stdout).toContain('ok    /proc/sys/vm/swappiness = 5')
  expect(stdout).toContain('no cores are isolated (online: 0-1)')
  expect(stdout).toContain('3 to be done')
  for (const [path, text] of Object.entries(asItWas)) expect(read(path)).toBe(text.trim())
})

test('apply names each change, asks first, and undo puts back what was there', () => {
  const { place, run, read } = machine()
  const asked = run('apply')
  expect([asked.status, asked.stderr]).toEqual([
    2,
    'linux-tuning: nothing was changed: apply asks first; --yes says yes\n',
  ])
  expect(asked.stdout).toContain('/proc/sys/vm/stat_interval: 1 → 10')
  expect(read('/proc/sys/vm/stat_interval')).toBe('1')

  expect(run('apply', '--yes')).toMatchObject({ status: 0, stderr: '' })
  expect(read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')).toBe('performance')
  expect(read('/proc/sys/vm/stat_interval')).toBe('10')
  expect(read('/proc/sys/vm/dirty_background_bytes')).toBe('67108864')
  expect(run('check')).toMatchObject({ status: 0 })
  expect(run('apply', '--yes').stdout).toContain('nothing to be done')

  // As the kernel does when the other one is set.
  writeFileSync(join(place, '/proc/sys/vm/dirty_background_ratio'), '0\n')
  writeFileSync(join(place, '/proc/sys/vm/stat_interval'), '20\n')
  expect(run('undo')).toMatchObject({ status: 0, stdout: 'as before\n' })
  expect(read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor')).toBe('powersave')
  expect(read('/proc/sys/vm/stat_interval')).toBe('1')
  expect(read('/proc/sys/vm/dirty_background_ratio')).toBe('10')
  expect(existsSync(join(place, 'run/hermes-tuning/before'))).toBe(false)
  expect(run('undo')).toMatchObject({ status: 1, stderr: expect.stringContaining('nothing was applied') })
})

test.each([
  [[], 2, 'linux-tuning.sh check'],
  [['tune'], 2, 'linux-tuning.sh check'],
  [['check', 'all'], 2, 'check takes no arguments'],
  [['apply', '--force'], 2, 'apply takes --yes'],
  [['bench'], 3, 'npm install -g hermes-mq'],
])('%j is refused with what to do', (args, code, message) => {
  const { status, stderr } = machine().run(...args)
  expect({ status, stderr }).toEqual({ status: code, stderr: expect.stringContaining(message) })
})
