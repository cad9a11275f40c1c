// What the programs that tests start have in common. They use the package as it is built in dist/.
import { writeSync } from 'node:fs'
import { ascii, open, struct, u8, u32 } from '../../../dist/index.js'

export const options = JSON.parse(process.argv[2] ?? '{}')

/** Reports at once: what was reported before a kill has left the process. */
export function report(is, facts = {}) {
  let rest = Buffer.from(`${JSON.stringify({ is, ...facts })}\n`)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error
    }
  }
}

/** 64 bytes of message. */
export const Numbered = struct({ producer: u32, n: u32, filler: ascii(55), last: u8 })

export const place = () => open(options.place)
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))
export const turn = () => new Promise((resolve) => setImmediate(resolve))

export async function codeOf(work) {
  try {
    await work()
    return 'none'
  } catch (error) {
    return error?.code ?? String(error)
  }
}
