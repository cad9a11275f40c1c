import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { open, text } from '../../lib/index.js'
import { foldersPerTest, root } from '../helpers/folder.js'
import { numbers } from '../helpers/receive.js'

const addon = join(root, 'build/crash-points/hermes.node')
const folderOf = foldersPerTest()
const count = 1000

/** Around the claim of a batch, which recovery makes void if it was not committed. */
const points = ['batch:before-claim', 'batch:claimed', 'batch:filling', 'batch:filled', 'append:committed']

test.skipIf(!existsSync(addon))(
  'a mirror in a directory has each message once, wherever in a batch its bridge was killed, and again',
  async () => {
    const folder = folderOf()
    const [here, back] = [join(folder, 'here'), join(folder, 'back')]
    await using local = await open(here)
    const publisher = await local.topic('orders', { codec: text }).publisher()
    for (const n of numbers(0, count / 50)) publisher.publishBatch(numbers(n * 50, 50).map((m) => `value ${m}`))
    await publisher.flush('synced')
    const mirror = (env: Record<string, string>) =>
      spawnSync(
        process.execPath,
        [join(root, 'dist/cli/main.js'), 'mirror', `${here}/orders`, `${back}/orders`, '--once', '--quiet'],
        { env: { ...process.env, ...env }, encoding: 'utf8' },
      )
    for (const passage of [1, 2]) {
      for (const point of points) {
        const { signal } = mirror({ HERMES_NATIVE: addon, HERMES_CRASH: `${point}@${passage}` })
        // (there may be no second batch left)
        if (passage === 1) expect([point, signal]).toEqual([point, 'SIGKILL'])
        publisher.publishBatch(numbers(0, 200).map((n) => `${point} ${passage} ${n}`))
        await publisher.flush('synced')
      }
    }
    expect(mirror({})).toMatchObject({ status: 0 })
    await using copy = await open(back)
    const read = async (hermes: typeof local) => {
      const subscriber = await hermes.topic('orders', { codec: text }).subscriber({ from: 'earliest', until: 'latest' })
      const values: string[] = []
      for await (const { value } of subscriber) values.push(value)
      return values
    }
    const original = await read(local)
    expect(original.length).toBe(count + 2 * points.length * 200)
    expect(await read(copy)).toEqual(original)
    // Nothing is left to copy.
    expect(mirror({})).toMatchObject({ status: 0 })
    expect(await read(copy)).toEqual(original)
  },
  120_000,
)
