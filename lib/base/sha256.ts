/** The first 32 bits of the fractional parts of the square roots of the first 8 primes, and of the cube roots of the first 64. */
const initial = roots(8, 1 / 2)
const constants = roots(64, 1 / 3)

function roots(count: number, power: number): Uint32Array {
  const found = new Uint32Array(count)
  for (let candidate = 2, at = 0; at < count; candidate++) {
    let divisor = 2
    while (divisor * divisor <= candidate && candidate % divisor !== 0) divisor++
    if (divisor * divisor <= candidate) continue
    const root = candidate ** power
    found[at++] = (root - Math.floor(root)) * 0x1_0000_0000
  }
  return found
}

const rotated = (word: number, bits: number): number => (word >>> bits) | (word << (32 - bits))

/**
 * SHA-256 (FIPS 180-4) in hexadecimal digits. In plain TypeScript, since a browser has it only as a promise; for short texts, such as schemas.
 */
export function sha256(bytes: Uint8Array): string {
  const padded = new Uint8Array(Math.ceil((bytes.length + 9) / 64) * 64)
  padded.set(bytes)
  padded[bytes.length] = 0x80
  const data = new DataView(padded.buffer)
  data.setBigUint64(padded.length - 8, BigInt(bytes.length) * 8n)
  const hash = initial.slice()
  const w = new Uint32Array(64)
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 16; i++) w[i] = data.getUint32(block + 4 * i)
    for (let i = 16; i < 64; i++) {
      const early = w[i - 15] as number
      const late = w[i - 2] as number
      const s0 = rotated(early, 7) ^ rotated(early, 18) ^ (early >>> 3)
      const s1 = rotated(late, 17) ^ rotated(late, 19) ^ (late >>> 10)
      w[i] = (w[i - 16] as number) + s0 + (w[i - 7] as number) + s1
    }
    let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash
    for (let i = 0; i < 64; i++) {
      const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (constants[i] as number) + (w[i] as number)) | 0
      const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0
      h = g
      g = f
      f = e
      e = (d + t1) | 0
      d = c
      c = b
      b = a
      a = (t1 + t2) | 0
    }
    const next = [a, b, c, d, e, f, g, h]
    for (let i = 0; i < 8; i++) hash[i] = (hash[i] as number) + (next[i] as number)
  }
  return Array.from(hash, (word) => word.toString(16).padStart(8, '0')).join('')
}
