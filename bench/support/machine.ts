import { execFileSync } from 'node:child_process'
import { accessSync, constants, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus, loadavg, release, type as systemType, totalmem } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { bytes } from './format.js'

/** The repository's root. */
export const root = dirname(createRequire(import.meta.url).resolve('hermes-mq/package.json'))

export function findProgram(name: string, path = process.env.PATH ?? ''): string | undefined {
  return path
    .split(delimiter)
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** Where and of what the figures are. */
export interface Machine {
  readonly date: string
  readonly commit: string
  readonly version: string
  readonly cpu: string
  readonly cores: number
  readonly virtual: boolean
  readonly memory: string
  readonly kernel: string
  readonly node: string
  readonly directory: string
  readonly fileSystem: string
  /** Over the last minute before the run. */
  readonly load: number
}

/** Above this, something else uses the processors, and the figures suffer. */
export const quietLoad = 0.5

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function git(...args: readonly string[]): string {
  try {
    return execFileSync('git', ['-C', root, ...args], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  } catch {
    return ''
  }
}

function commitOf(): string {
  const commit = git('rev-parse', '--short=12', 'HEAD')
  if (commit === '') return 'unknown'
  // What the figures depend on; the report itself is written by a run.
  const changed = git('status', '--porcelain', '--', 'lib', 'native', 'bench') !== ''
  return changed ? `${commit} with local changes` : commit
}

function fileSystemOf(path: string): string {
  let best = ''
  let kind = 'unknown'
  for (const line of readText('/proc/self/mounts').split('\n')) {
    const [, target = '', type = ''] = line.split(' ')
    const within = path === target || path.startsWith(target.endsWith('/') ? target : `${target}/`)
    if (target !== '' && within && target.length >= best.length) {
      best = target
      kind = type
    }
  }
  return kind
}

export function describeMachine(directory: string): Machine {
  const path = resolve(directory)
  const { version } = JSON.parse(readText(join(root, 'package.json'))) as { version: string }
  return {
    date: new Date().toISOString(),
    commit: commitOf(),
    version,
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    virtual: /^flags\s*:.*\bhypervisor\b/m.test(readText('/proc/cpuinfo')),
    memory: bytes(totalmem()),
    kernel: `${systemType()} ${release()}`,
    node: `${process.version} (V8 ${process.versions.v8})`,
    directory: path,
    fileSystem: fileSystemOf(path),
    load: loadavg()[0] ?? Number.NaN,
  }
}

export function machineRows(machine: Machine): [string, string][] {
  return [
    ['Date', machine.date],
    ['Hermes', `${machine.version}, commit ${machine.commit}`],
    ['Processor', `${machine.cpu}, ${machine.cores} cores${machine.virtual ? ', a virtual machine' : ''}`],
    ['Memory', machine.memory],
    ['System', machine.kernel],
    ['Node', machine.node],
    ['Directory', `${machine.fileSystem} (shared memory: ${fileSystemOf('/dev/shm')})`],
    ['Load before the run', machine.load.toFixed(2)],
    ['Durability', 'written: a message survives the end of any process, not of the machine'],
  ]
}
