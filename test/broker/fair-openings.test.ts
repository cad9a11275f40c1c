import { statSync, utimesSync, writeFileSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ChannelTable } from '../../lib/broker/channel-table.js'
import { KnownDescription } from '../../lib/broker/known-description.js'
import { Openings } from '../../lib/broker/openings.js'
import { SeekQueue } from '../../lib/broker/seek-queue.js'
import type { TopicFile } from '../../lib/store/topic-file.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/** Lets what waits for promises only go on. */
const settle = async () => {
  for (let n = 0; n < 50; n++) await Promise.resolve()
}

describe('openings under way', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  /** A connection that has asked for so many channels, of which none comes to its end by itself. */
  class Client {
    readonly ends: (() => void)[] = []
    readonly table: ChannelTable

    constructor(openings: Openings, party: string, count: number) {
      // (its turn comes at once)
      const later = () => {
        while (this.table.hasNext) this.table.startNext()
      }
      this.table = new ChannelTable(1024, openings, { party, later })
      for (let channel = 1; channel <= count; channel++)
        this.table.begin(channel, () => new Promise((resolve) => this.ends.push(resolve)))
    }

    get begun(): number {
      return this.ends.length
    }
  }

  it('are limited for all connections of a client together, which take turns; others begin at once', async () => {
    const openings = new Openings()
    const clients = Array.from({ length: 10 }, () => new Client(openings, 'attacker', 100))
    const begun = () => clients.reduce((sum, client) => sum + client.begun, 0)
    expect(begun()).toBe(32)
    expect(new Client(openings, 'victim', 1).begun).toBe(1)
    for (let n = 0; n < 16; n++) {
      clients[0]?.ends[n]?.()
      await settle()
    }
    expect(begun()).toBe(48)
    // The eight that had none yet have two each, or nearly.
    for (const client of clients.slice(2)) expect(client.begun).toBeGreaterThan(0)
  })

  it('are done one after the other, and none is forgotten, also when clients leave', async () => {
    const openings = new Openings()
    const clients = Array.from({ length: 10 }, () => new Client(openings, 'one', 20))
    for (const gone of clients.slice(0, 5)) gone.table.clear()
    for (let round = 0; round < 40; round++) {
      for (const client of clients) for (const end of client.ends) end()
      await settle()
    }
    for (const client of clients.slice(5)) expect(client.begun).toBe(20)
  })

  it('do not count that wait for long', async () => {
    const openings = new Openings()
    const clients = Array.from({ length: 3 }, () => new Client(openings, 'one', 16))
    expect(clients.map(({ begun }) => begun)).toEqual([16, 16, 0])
    await vi.advanceTimersByTimeAsync(1000)
    expect(clients.map(({ begun }) => begun)).toEqual([16, 16, 16])
  })
})

describe('places are looked for', () => {
  it('for one client after the other, however many each one asks for', async () => {
    const ends: (() => void)[] = []
    const queue = new SeekQueue({ prepareSeek: () => new Promise((resolve) => ends.push(resolve)) })
    const found: string[] = []
    const seek = (party: string, times: number) => {
      for (let n = 1; n <= times; n++) void queue.run(n, party, () => void found.push(party))
    }
    seek('attacker', 100)
    seek('victim', 2)
    seek('other', 1)
    // (the gate of all topics is the process's: nothing may stay in it)
    for (let n = 0; n < 103; n++) {
      await settle()
      ends[n]?.()
    }
    await settle()
    expect(found.length).toBe(103)
    expect(found.slice(0, 8).join(' ')).toBe('attacker attacker victim other attacker victim attacker attacker')
  })

  it('and in many topics, too', async () => {
    const ends: (() => void)[] = []
    const found: string[] = []
    const seek = (party: string) => {
      const queue = new SeekQueue({ prepareSeek: () => new Promise((resolve) => ends.push(resolve)) })
      void queue.run(1, party, () => void found.push(party))
    }
    for (let n = 0; n < 50; n++) seek('attacker')
    seek('victim')
    await settle()
    // As many as there may be at a time.
    expect(ends.length).toBe(2)
    for (let n = 0; n < 4; n++) {
      ends[n]?.()
      await settle()
    }
    expect(found).toContain('victim')
    for (let n = 4; n < 60; n++) {
      ends[n]?.()
      await settle()
    }
    expect(found.length).toBe(51)
  })
})

describe("an open topic's description", () => {
  let folder: string
  beforeEach(() => {
    folder = makeFolder()
  })
  afterEach(() => removeFolder(folder))

  it('is read once, until there is another one', async () => {
    const path = join(folder, 'topic.json')
    const known = new KnownDescription(path)
    let reads = 0
    const look = async () =>
      known.current ?? (await known.read(async () => ({ name: String(++reads) }) as unknown as TopicFile))
    /** Another one, that is some time old. */
    const put = async (text: string) => {
      writeFileSync(`${path}.new`, text)
      await rename(`${path}.new`, path)
      await vi.waitUntil(() => Date.now() - statSync(path).ctimeMs > 200, { timeout: 30_000 })
    }
    // None, and one that was made just now, may be another one at any time.
    await look()
    await look()
    expect(reads).toBe(2)
    await put('one')
    for (let n = 0; n < 5; n++) await look()
    expect(reads).toBe(3)
    // Of the same size and the same time as far as a program can set it.
    const { atime, mtime } = statSync(path)
    await put('two')
    utimesSync(path, atime, mtime)
    await vi.waitUntil(() => Date.now() - statSync(path).ctimeMs > 200, { timeout: 30_000 })
    for (let n = 0; n < 5; n++) expect((await look())?.name).toBe('4')
    writeFileSync(path, 'now')
    // What was written in place a moment ago is not taken for settled.
    await look()
    await look()
    expect(reads).toBeGreaterThan(4)
  })
})
