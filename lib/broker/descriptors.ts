import { readFileSync } from 'node:fs'

/** How many files this process may have open; a guess that is never reached where the system does not say. */
export function openFilesLimit(): number {
  let text: string
  try {
    text = readFileSync('/proc/self/limits', 'utf8')
  } catch {
    // (no Linux)
    return Number.MAX_SAFE_INTEGER
  }
  const soft = /^Max open files +(\d+)/m.exec(text)?.[1]
  return soft === undefined ? Number.MAX_SAFE_INTEGER : Number(soft)
}
