import { mkdirSync, mkdtempSync, rmSync, statfsSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach } from 'vitest'

const tmpfs = 0x01021994
export const root = join(import.meta.dirname, '../..')

/** A folder for temporary files on a real file system: holes, full disks and mappings behave otherwise on tmpfs. */
function base(): string {
  if (statfsSync(tmpdir()).type !== tmpfs) return tmpdir()
  const folder = join(root, 'build', 'tmp')
  mkdirSync(folder, { recursive: true })
  return folder
}

export function makeFolder(): string {
  return mkdtempSync(join(base(), 'hermes-test-'))
}

export function removeFolder(path: string): void {
  rmSync(path, { recursive: true, force: true })
}

/** Makes folders that are removed after each test of the file that calls this. */
export function foldersPerTest(): () => string {
  const made: string[] = []
  afterEach(() => {
    for (const path of made.splice(0)) removeFolder(path)
  })
  return () => {
    const path = makeFolder()
    made.push(path)
    return path
  }
}
