import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { deflate } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ErrorCode, HermesError } from '../../lib/base/errors.js'
import mmap, * as named from '../../lib/mmap.js'

const { PROT_READ, PROT_WRITE, PROT_EXEC, PROT_NONE, MAP_SHARED, MAP_PRIVATE, MAP_POPULATE, PAGESIZE } = mmap
const built = join(import.meta.dirname, '../../dist/mmap.js')

let folder: string
let file: string
const fds: number[] = []

beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'hermes-mmap-'))
  file = join(folder, 'file')
})

afterEach(() => {
  for (const fd of fds.splice(0)) fs.closeSync(fd)
  fs.rmSync(folder, { recursive: true, force: true })
})

function opened(flags: string, path = file): number {
  const fd = fs.openSync(path, flags)
  fds.push(fd)
  return fd
}

/** A file of `bytes`, each page of which begins with its number, opened. */
function made(bytes: number, flags = 'r+'): number {
  const content = Buffer.alloc(bytes, 0x2e)
  for (let at = 0, page = 0; at + 4 <= bytes; at += PAGESIZE, page++) content.writeUInt32LE(page, at)
  fs.writeFileSync(file, content)
  return opened(flags)
}

function codeOf(work: () => unknown): ErrorCode | undefined {
  try {
    work()
    return undefined
  } catch (error) {
    if (error instanceof HermesError) return error.code
    throw error
  }
}

/** Whether this process has the file mapped. */
const isMapped = () => fs.readFileSync('/proc/self/maps', 'utf8').includes(file)

describe('the interface of mmap-io', () => {
  const names = ['map', 'advise', 'incore', 'sync', 'PROT_NONE', 'PROT_READ', 'PROT_WRITE', 'PROT_EXEC', 'MAP_SHARED']
  names.push('MAP_PRIVATE', 'MAP_NONBLOCK', 'MAP_POPULATE', 'MADV_NORMAL', 'MADV_RANDOM', 'MADV_SEQUENTIAL')
  names.push('MADV_WILLNEED', 'MADV_DONTNEED', 'PAGESIZE')

  test.each(names)('has %s in its default export and by name', (name) => {
    const value = (mmap as unknown as Record<string, unknown>)[name]
    expect(value).toBeDefined()
    expect((named as unknown as Record<string, unknown>)[name]).toBe(value)
  })

  test.runIf(process.platform === 'linux')('has the numbers of Linux', () => {
    expect([PROT_NONE, PROT_READ, PROT_WRITE, PROT_EXEC, MAP_SHARED, MAP_PRIVATE]).toEqual([0, 1, 2, 4, 1, 2])
    expect([mmap.MAP_NONBLOCK, MAP_POPULATE, mmap.MADV_DONTNEED]).toEqual([65536, 32768, 4])
  })
})

describe('map', () => {
  test('shows a file, also after its descriptor was closed', () => {
    made(3 * PAGESIZE)
    const fd = fs.openSync(file, 'r')
    const buffer = mmap.map(3 * PAGESIZE, PROT_READ, MAP_SHARED, fd)
    fs.closeSync(fd)
    expect(Buffer.isBuffer(buffer)).toBe(true)
    expect(buffer.equals(fs.readFileSync(file))).toBe(true)
    mmap.unmap(buffer)
  })

  test('maps from an offset, with a length that is no multiple of a page', () => {
    const fd = made(3 * PAGESIZE + 100, 'r')
    const buffer = mmap.map(PAGESIZE + 100, PROT_READ, MAP_SHARED, fd, 2 * PAGESIZE, mmap.MADV_SEQUENTIAL)
    expect(buffer.length).toBe(PAGESIZE + 100)
    expect([buffer.readUInt32LE(0), buffer.readUInt32LE(PAGESIZE)]).toEqual([2, 3])
    mmap.unmap(buffer)
  })

  test('lets stores reach the file and other mappings with PROT_WRITE and MAP_SHARED', () => {
    const fd = made(PAGESIZE)
    const writer = mmap.map(PAGESIZE, PROT_WRITE, MAP_SHARED, fd)
    const reader = mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, fd)
    writer.write('hermes', 8)
    expect(reader.toString('latin1', 8, 14)).toBe('hermes')
    expect(fs.readFileSync(file).toString('latin1', 8, 14)).toBe('hermes')
    mmap.unmap(writer)
    mmap.unmap(reader)
  })

  test.each([
    ['PROT_READ and MAP_SHARED', PROT_READ, MAP_SHARED, 'r'],
    ['PROT_READ and MAP_SHARED on a writable file', PROT_READ, MAP_SHARED, 'r+'],
    ['PROT_READ and MAP_PRIVATE', PROT_READ, MAP_PRIVATE, 'r'],
    ['PROT_WRITE and MAP_PRIVATE', PROT_READ | PROT_WRITE, MAP_PRIVATE, 'r'],
    ['MAP_POPULATE', PROT_READ, MAP_SHARED | MAP_POPULATE, 'r'],
  ])('keeps stores out of the file, and survives them, with %s', (_, protection, flags, mode) => {
    const fd = made(2 * PAGESIZE, mode)
    const before = fs.readFileSync(file)
    const buffer = mmap.map(2 * PAGESIZE, protection, flags, fd)
    buffer.fill(0xff)
    expect(buffer.every((byte) => byte === 0xff)).toBe(true)
    expect(fs.readFileSync(file).equals(before)).toBe(true)
    mmap.unmap(buffer)
  })

  test('keeps a mapping for reading up to date where it was not written to', () => {
    const fd = made(2 * PAGESIZE)
    const buffer = mmap.map(2 * PAGESIZE, PROT_READ, MAP_SHARED, fd)
    buffer[0] = 0xff
    fs.writeSync(fd, 'news', PAGESIZE)
    expect(buffer.toString('latin1', PAGESIZE, PAGESIZE + 4)).toBe('news')
    mmap.unmap(buffer)
  })

  test('gives the holes of a file a place on the disk before stores can reach it', () => {
    const fd = opened('w+')
    fs.ftruncateSync(fd, 64 * PAGESIZE)
    const buffer = mmap.map(64 * PAGESIZE, PROT_WRITE, MAP_SHARED, fd)
    expect(fs.fstatSync(fd).blocks * 512).toBeGreaterThanOrEqual(64 * PAGESIZE)
    expect(fs.fstatSync(fd).size).toBe(64 * PAGESIZE)
    mmap.unmap(buffer)
  })

  test('reports a full disk instead of crashing at a store', (context) => {
    const place = join(folder, 'small')
    fs.mkdirSync(place)
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'none', place])
    if (mounted.status !== 0) context.skip('only root may mount a small file system')
    try {
      const fd = fs.openSync(join(place, 'file'), 'w+')
      try {
        fs.ftruncateSync(fd, 1 << 20)
        expect(codeOf(() => mmap.map(1 << 20, PROT_WRITE, MAP_SHARED, fd))).toBe('DISK_FULL')
      } finally {
        fs.closeSync(fd)
      }
    } finally {
      spawnSync('umount', [place])
    }
  })

  test('refuses what is not all within the file', () => {
    const fd = made(2 * PAGESIZE)
    const codes = [
      codeOf(() => mmap.map(2 * PAGESIZE + 1, PROT_READ, MAP_SHARED, fd)),
      codeOf(() => mmap.map(PAGESIZE + 1, PROT_READ, MAP_PRIVATE, fd, PAGESIZE)),
      codeOf(() => mmap.map(1, PROT_READ, MAP_SHARED, fd, 2 * PAGESIZE)),
      codeOf(() => mmap.map(1, PROT_READ, MAP_SHARED, fd, 2 ** 52)),
    ]
    expect(codes).toEqual(['INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT', 'INVALID_ARGUMENT'])
  })

  test.each<[string, unknown[], ErrorCode]>([
    ['a size of 0', [0, 1, 1], 'INVALID_ARGUMENT'],
    ['a negative size', [-1, 1, 1], 'INVALID_ARGUMENT'],
    ['a broken size', [1.5, 1, 1], 'INVALID_ARGUMENT'],
    ['a size that is no number', ['1', 1, 1], 'INVALID_ARGUMENT'],
    ['a size beyond what a Buffer can have', [2 ** 53 - 1, 1, 1], 'INVALID_ARGUMENT'],
    ['PROT_NONE', [1, 0, 1], 'UNSUPPORTED'],
    ['PROT_EXEC', [1, 1 | 4, 1], 'UNSUPPORTED'],
    ['an unknown protection', [1, 8, 1], 'INVALID_ARGUMENT'],
    ['neither MAP_SHARED nor MAP_PRIVATE', [1, 1, 0], 'INVALID_ARGUMENT'],
    ['both MAP_SHARED and MAP_PRIVATE', [1, 1, 3], 'INVALID_ARGUMENT'],
    ['MAP_FIXED', [1, 1, 1 | 0x10], 'INVALID_ARGUMENT'],
    ['an offset within a page', [1, 1, 1, undefined, 1], 'INVALID_ARGUMENT'],
    ['a negative offset', [1, 1, 1, undefined, -4096], 'INVALID_ARGUMENT'],
    ['an unknown advice', [1, 1, 1, undefined, 0, 9], 'INVALID_ARGUMENT'],
    ['a descriptor that is no number', [1, 1, 1, 'file'], 'INVALID_ARGUMENT'],
    ['a descriptor that is not open', [1, 1, 1, 99_999], 'INVALID_ARGUMENT'],
  ])('refuses %s', (_, args, code) => {
    const fd = made(PAGESIZE)
    const [size, protection, flags, given = fd, ...rest] = args
    const call = mmap.map as (...all: unknown[]) => unknown
    expect(codeOf(() => call(size, protection, flags, given, ...rest))).toBe(code)
  })

  test('refuses stores that should reach a file which is open for reading only', () => {
    const fd = made(PAGESIZE, 'r')
    expect(codeOf(() => mmap.map(PAGESIZE, PROT_WRITE, MAP_SHARED, fd))).toBe('ACCESS_DENIED')
  })

  test('refuses what is no regular file', () => {
    expect(codeOf(() => mmap.map(1, PROT_READ, MAP_SHARED, opened('r', folder)))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => mmap.map(1, PROT_READ, MAP_SHARED, opened('r', '/dev/zero')))).toBe('INVALID_ARGUMENT')
  })
})

describe('unmap', () => {
  test('empties the Buffer and every view of it, and lets go of the file', () => {
    const buffer = mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, made(PAGESIZE))
    const view = buffer.subarray(100, 200)
    const words = new Uint32Array(buffer.buffer, buffer.byteOffset, 4)
    expect(isMapped()).toBe(true)
    mmap.unmap(buffer)
    expect([buffer.length, view.length, words.length, buffer[0]]).toEqual([0, 0, 0, undefined])
    expect(isMapped()).toBe(false)
  })

  test('may be called twice, and with a view', () => {
    const buffer = mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, made(PAGESIZE))
    mmap.unmap(buffer.subarray(8))
    mmap.unmap(buffer)
    expect(buffer.length).toBe(0)
  })

  test('leaves other mappings of the file alone', () => {
    const fd = made(PAGESIZE)
    const [one, other] = [0, 0].map(() => mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, fd)) as [Buffer, Buffer]
    mmap.unmap(one)
    expect(other.readUInt32LE(0)).toBe(0)
    expect(other.length).toBe(PAGESIZE)
    mmap.unmap(other)
  })

  test('keeps what was written', () => {
    const buffer = mmap.map(PAGESIZE, PROT_WRITE, MAP_SHARED, made(PAGESIZE))
    buffer.write('kept', 16)
    mmap.unmap(buffer)
    expect(fs.readFileSync(file).toString('latin1', 16, 20)).toBe('kept')
  })

  test('makes later advise, sync and incore say CLOSED', () => {
    const buffer = mmap.map(PAGESIZE, PROT_WRITE, MAP_SHARED, made(PAGESIZE))
    mmap.unmap(buffer)
    expect(codeOf(() => mmap.sync(buffer))).toBe('CLOSED')
    expect(codeOf(() => mmap.incore(buffer))).toBe('CLOSED')
    expect(codeOf(() => mmap.advise(buffer, mmap.MADV_RANDOM))).toBe('CLOSED')
  })

  test('does not pull the memory from under a call in the thread pool', async () => {
    const size = 16 << 20
    const fd = made(size)
    const inFlight = [1, 2, 3, 4, 5, 6].map(() => {
      const buffer = mmap.map(size, PROT_READ, MAP_SHARED, fd)
      // One chunk takes all output, so zlib asks for the buffer once. Asked again, Node aborts over any buffer that was detached.
      const deflated = promisify(deflate)(buffer.subarray(4096), { chunkSize: 2 * size })
      mmap.unmap(buffer)
      return deflated
    })
    // What they make of it doesn't matter: they are given zeros half-way.
    expect((await Promise.all(inFlight)).every((result) => result.length > 0)).toBe(true)
  })

  test('refuses what map did not return', () => {
    for (const other of [Buffer.alloc(8), new Uint8Array(8), new ArrayBuffer(8), null, 'file']) {
      expect(codeOf(() => mmap.unmap(other as Uint8Array))).toBe('INVALID_ARGUMENT')
    }
  })

  test('can be called a hundred thousand times without a turn of the event loop', () => {
    const fd = made(PAGESIZE)
    for (let round = 0; round < 100_000; round++) {
      mmap.unmap(mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, fd))
    }
    expect(isMapped()).toBe(false)
  })
})

describe('advise, incore and sync', () => {
  test('count the pages that are in memory', () => {
    const buffer = mmap.map(5 * PAGESIZE + 1, PROT_READ, MAP_SHARED | MAP_POPULATE, made(5 * PAGESIZE + 1))
    expect(mmap.incore(buffer)).toEqual([0, 6])
    expect(mmap.incore(buffer.subarray(PAGESIZE - 1, PAGESIZE + 1))).toEqual([0, 2])
    expect(mmap.incore(buffer.subarray(10, 10))).toEqual([0, 0])
    mmap.unmap(buffer)
  })

  test('count pages that are not in memory', () => {
    const fd = opened('w+')
    fs.ftruncateSync(fd, 10_000 * PAGESIZE)
    const buffer = mmap.map(10_000 * PAGESIZE, PROT_READ, MAP_SHARED, fd)
    mmap.advise(buffer, mmap.MADV_RANDOM)
    buffer.readUInt8(9_999 * PAGESIZE)
    const [absent, present] = mmap.incore(buffer)
    expect(absent + present).toBe(10_000)
    expect(present).toBeGreaterThanOrEqual(1)
    expect(absent).toBeGreaterThan(5_000)
    mmap.unmap(buffer)
  })

  test('take every advice, for all of it or a part', () => {
    const buffer = mmap.map(4 * PAGESIZE, PROT_READ, MAP_SHARED, made(4 * PAGESIZE))
    for (const advice of [mmap.MADV_NORMAL, mmap.MADV_RANDOM, mmap.MADV_SEQUENTIAL, mmap.MADV_WILLNEED]) {
      mmap.advise(buffer, advice)
      mmap.advise(buffer, PAGESIZE, 2 * PAGESIZE, advice)
    }
    expect(codeOf(() => mmap.advise(buffer, 1, 8, mmap.MADV_NORMAL))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => mmap.advise(buffer, 0, 4 * PAGESIZE + 1, mmap.MADV_NORMAL))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => mmap.advise(buffer, 9))).toBe('INVALID_ARGUMENT')
    mmap.unmap(buffer)
  })

  test('throw private pages away with MADV_DONTNEED', () => {
    const buffer = mmap.map(2 * PAGESIZE, PROT_READ, MAP_SHARED, made(2 * PAGESIZE))
    buffer.fill(0xff)
    mmap.advise(buffer, PAGESIZE, PAGESIZE, mmap.MADV_DONTNEED)
    expect([buffer.readUInt32LE(0), buffer.readUInt32LE(PAGESIZE)]).toEqual([0xffff_ffff, 1])
    mmap.unmap(buffer)
  })

  test('sync in all the forms that mmap-io has', () => {
    const buffer = mmap.map(2 * PAGESIZE, PROT_WRITE, MAP_SHARED, made(2 * PAGESIZE))
    buffer.write('synced', PAGESIZE + 5)
    mmap.sync(buffer)
    mmap.sync(buffer, true)
    mmap.sync(buffer, true, true)
    mmap.sync(buffer, 0, buffer.length)
    mmap.sync(buffer, PAGESIZE + 5, 6, true, false)
    mmap.sync(buffer.subarray(PAGESIZE + 5), 0, 6, true)
    expect(codeOf(() => mmap.sync(buffer, 0, 2 * PAGESIZE + 1))).toBe('INVALID_ARGUMENT')
    expect(codeOf(() => mmap.sync(buffer, -1, 1))).toBe('INVALID_ARGUMENT')
    mmap.unmap(buffer)
  })
})

/** Runs a module's text in a process of its own, on the compiled package. */
function run(program: string, ...flags: string[]): string {
  const source = `import fs from 'node:fs'; import mmap from ${JSON.stringify(built)}; const file = ${JSON.stringify(file)}
    const count = () => fs.readFileSync('/proc/self/maps', 'utf8').split(file).length - 1
    ${program}`
  const { stdout, stderr, status, signal } = spawnSync(
    process.execPath,
    [...flags, '--input-type=module', '-e', source],
    {
      encoding: 'utf8',
    },
  )
  expect({ stderr, status, signal }).toEqual({ stderr: '', status: 0, signal: null })
  return stdout.trim()
}

describe('the life of a mapping', () => {
  test('ends when its Buffer is garbage', () => {
    made(PAGESIZE)
    const output = run(
      `const fd = fs.openSync(file, 'r')
       for (let i = 0; i < 500; i++) mmap.map(mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd)
       const most = count()
       for (let i = 0; i < 20 && count() > 0; i++) { globalThis.gc(); await new Promise(setImmediate) }
       console.log(most > 0, count())`,
      '--expose-gc',
    )
    expect(output).toBe('true 0')
  })

  test('lasts as long as a view of the Buffer', () => {
    made(2 * PAGESIZE)
    const output = run(
      `const fd = fs.openSync(file, 'r')
       const view = mmap.map(2 * mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd).subarray(mmap.PAGESIZE)
       for (let i = 0; i < 20; i++) { globalThis.gc(); await new Promise(setImmediate) }
       console.log(count(), view.readUInt32LE(0)); mmap.sync(view)`,
      '--expose-gc',
    )
    expect(output).toBe('1 1')
  })

  test('survives an attempt to transfer its memory', () => {
    made(PAGESIZE)
    const output = run(
      `const fd = fs.openSync(file, 'r+')
       const buffer = mmap.map(mmap.PAGESIZE, mmap.PROT_WRITE, mmap.MAP_SHARED, fd)
       let moved
       try { moved = structuredClone(buffer.buffer, { transfer: [buffer.buffer] }) } catch {}
       if (typeof buffer.buffer.transfer === 'function' && buffer.length > 0) moved = buffer.buffer.transfer()
       const before = count()
       mmap.unmap(buffer)
       if (moved !== undefined) { new Uint8Array(moved).fill(1); globalThis.gc(); await new Promise(setImmediate); new Uint8Array(moved).fill(2) }
       console.log(buffer.length, count())`,
      '--expose-gc',
      // ArrayBuffer.prototype.transfer is behind this option in Node 20, and without one from 22 on.
      ...(process.versions.node.startsWith('20.') ? ['--harmony-rab-gsab-transfer'] : []),
    )
    expect(output).toBe('0 0')
  })

  test('ends with its worker thread, also when that is stopped in the middle', async () => {
    const fd = made(PAGESIZE)
    fs.writeSync(fd, Buffer.alloc(4))
    const source = `import(${JSON.stringify(built)}).then(({ default: mmap }) => {
        const fd = require('node:fs').openSync(${JSON.stringify(file)}, 'r+')
        const buffer = mmap.map(${PAGESIZE}, mmap.PROT_WRITE, mmap.MAP_SHARED, fd)
        for (;;) Atomics.add(new Int32Array(buffer.buffer), 0, 1)
      })`
    const workers = [1, 2].map(() => new Worker(source, { eval: true }))
    const own = mmap.map(PAGESIZE, PROT_READ, MAP_SHARED, fd)
    try {
      await expect.poll(() => own.readInt32LE(0), { timeout: 20_000 }).toBeGreaterThan(1000)
    } finally {
      await Promise.all(workers.map((worker) => worker.terminate()))
    }
    mmap.unmap(own)
    expect(isMapped()).toBe(false)
  })
})
