/** How deep arrays and maps may be nested, as the encoder has it. */
const maxDepth = 100

/**
 * Walks over a MessagePack payload without building anything. Returns what is wrong with it, or undefined.
 *
 * The decoder sets an array of the announced length aside before it reads the first element, so five hostile bytes can
 * claim 32 GiB. Here every announced element must be paid for by at least one byte that is still to come.
 */
export function checkMsgpack(bytes: Uint8Array): string | undefined {
  const end = bytes.length
  const data = new DataView(bytes.buffer, bytes.byteOffset, end)
  // Values still owed by each open container, innermost last; `owed` is their sum.
  const open: number[] = []
  let owed = 1
  let at = 0
  while (owed > 0) {
    if (owed > end - at) return 'the payload ends early.'
    const head = bytes[at] as number
    at++
    owed--
    if (open.length > 0) open[open.length - 1] = (open[open.length - 1] as number) - 1
    let skip = 0
    let children = 0
    if (head < 0x80 || head >= 0xe0) {
      // a small integer
    } else if (head < 0x90) children = (head & 15) * 2
    else if (head < 0xa0) children = head & 15
    else if (head < 0xc0) skip = head & 31
    else {
      // How many bytes of length follow, what the length counts, and what comes besides.
      const lengthBytes = lengthBytesOf(head)
      if (lengthBytes > end - at) return 'the payload ends early.'
      const length =
        lengthBytes === 0
          ? 0
          : lengthBytes === 1
            ? data.getUint8(at)
            : lengthBytes === 2
              ? data.getUint16(at)
              : data.getUint32(at)
      at += lengthBytes
      if (head === 0xdc || head === 0xdd) children = length
      else if (head === 0xde || head === 0xdf) children = length * 2
      else {
        const fixed = fixedBytesOf(head)
        if (fixed < 0) return `byte 0x${head.toString(16)} begins no value.`
        skip = length + fixed
      }
    }
    if (skip > end - at) return 'the payload ends early.'
    at += skip
    owed += children
    while (open.length > 0 && open[open.length - 1] === 0) open.pop()
    if (children > 0) {
      if (open.length >= maxDepth) return `values are nested more than ${maxDepth} deep.`
      open.push(children)
    }
  }
  return at === end ? undefined : `${end - at} bytes follow the value.`
}

function lengthBytesOf(head: number): number {
  switch (head) {
    case 0xc4: // bin 8
    case 0xc7: // ext 8
    case 0xd9: // str 8
      return 1
    case 0xc5: // bin 16
    case 0xc8: // ext 16
    case 0xda: // str 16
    case 0xdc: // array 16
    case 0xde: // map 16
      return 2
    case 0xc6: // bin 32
    case 0xc9: // ext 32
    case 0xdb: // str 32
    case 0xdd: // array 32
    case 0xdf: // map 32
      return 4
    default:
      return 0
  }
}

/** The bytes after the head that do not depend on a length, or -1 for a byte that begins no value. */
function fixedBytesOf(head: number): number {
  switch (head) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
    case 0xc4: // bin
    case 0xc5:
    case 0xc6:
    case 0xd9: // str
    case 0xda:
    case 0xdb:
      return 0
    case 0xc7: // ext: the type byte
    case 0xc8:
    case 0xc9:
    case 0xcc: // uint 8
    case 0xd0: // int 8
      return 1
    case 0xcd: // uint 16
    case 0xd1: // int 16
    case 0xd4: // fixext 1
      return 2
    case 0xd5: // fixext 2
      return 3
    case 0xca: // float 32
    case 0xce: // uint 32
    case 0xd2: // int 32
      return 4
    case 0xd6: // fixext 4
      return 5
    case 0xcb: // float 64
    case 0xcf: // uint 64
    case 0xd3: // int 64
      return 8
    case 0xd7: // fixext 8
      return 9
    case 0xd8: // fixext 16
      return 17
    default:
      return -1
  }
}
