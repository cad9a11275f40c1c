import { createHash } from 'node:crypto'

/** 16 hex digits: the first 8 bytes of SHA-256 over the UTF-8 bytes of `text`. */
export function fingerprintOf(text: string): string {
  return createHash('sha256').update(text, 'utf8').digest('hex').slice(0, 16)
}
