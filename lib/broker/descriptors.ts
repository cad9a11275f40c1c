import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'

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

/**
 * The socket's descriptor. The system gives out the lowest that is free, so a high one says that nearly all below it are in use. (Waiting
 * for the error would not do: libuv closes connections that it has no descriptor for, and tells nobody.)
 */
export function descriptorOf(socket: Socket): number {
  const { fd } = (socket as Socket & { _handle?: { readonly fd?: number } | null })._handle ?? {}
  return fd ?? -1
}
