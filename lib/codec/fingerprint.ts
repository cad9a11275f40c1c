import { sha256 } from '../base/sha256.js'

const utf8 = new TextEncoder()

/** 16 hex digits: the first 8 bytes of SHA-256 over the UTF-8 bytes of `text`. */
export function fingerprintOf(text: string): string {
  return sha256(utf8.encode(text)).slice(0, 16)
}
