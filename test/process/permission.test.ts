import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'

// Node's permission model. docs/platforms.md says which lines of Node can what.

const root = join(import.meta.dirname, '../..')
const newFolder = foldersPerTest()
const major = Number(process.versions.node.split('.')[0])
const flag = major >= 24 ? '--permission' : '--experimental-permission'
const entry = JSON.stringify(join(root, 'dist/index.js'))
const broker = JSON.stringify(join(root, 'dist/broker/index.js'))

function run(program: string, permissions: string[]) {
  const net = major >= 25 ? ['--allow-net'] : []
  const args = ['--no-warnings', flag, ...net, ...permissions, '--input-type=module', '--eval', program]
  const { stdout, stderr, status } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 60_000 })
  return { stdout, stderr, status }
}

const all = (place: string) => ['--allow-fs-read=*', `--allow-fs-write=${place}*`, '--allow-addons']

const useAll = (place: string) => `
  import { json, open } from ${entry}
  import { serve } from ${broker}
  const hermes = await open(${JSON.stringify(place)})
  const topic = hermes.topic('t', { codec: json() })
  const publisher = await topic.publisher()
  const { sequence } = await publisher.publishAsync('local', { durability: 'synced' })
  const group = await topic.group('g', { from: 'earliest' })
  for await (const job of group) {
    console.log(sequence, job.value)
    await job.ack()
    break
  }
  // (the broker notes its publishers in a file)
  const server = await serve({ dir: ${JSON.stringify(place)}, port: 0 })
  const remote = await open(server.url)
  const sender = await remote.topic('t', { codec: json() }).publisher()
  console.log((await sender.publishAsync('remote')).sequence)
  await remote.close()
  await server.close()
  const { topics } = await hermes.backup(${JSON.stringify(`${place}-backup`)})
  console.log(topics.length)
  await hermes.close()
`

describe.skipIf(process.platform !== 'linux')('under --permission', () => {
  it.skipIf(major >= 26)('topics of a directory, a group, a broker and a backup do all they do', () => {
    const place = join(newFolder(), 'data')
    expect(run(useAll(place), all(place))).toEqual({ stdout: '1 local\n2\n1\n', stderr: '', status: 0 })
  })

  it('what Node does not permit is ACCESS_DENIED, with what to do', () => {
    const place = join(newFolder(), 'data')
    const program = `
      import { open } from ${entry}
      await open(${JSON.stringify(place)}).catch(({ code, message }) => console.log(code, /--allow-fs-write/.test(message)))`
    const permissions = major >= 26 ? all(place) : ['--allow-fs-read=*', '--allow-addons']
    expect(run(program, permissions)).toEqual({ stdout: 'ACCESS_DENIED true\n', stderr: '', status: 0 })
  })

  it('without --allow-addons the codecs work, and opening a directory says NATIVE_UNAVAILABLE', () => {
    const place = join(newFolder(), 'data')
    const program = `
      import { Encoder, json, open } from ${entry}
      console.log(new Encoder(json()).encode({ a: 1 }) > 0)
      await open(${JSON.stringify(place)}).catch(({ code, message }) => console.log(code, /allow-addons/.test(message)))`
    const permissions = ['--allow-fs-read=*', `--allow-fs-write=${place}*`]
    expect(run(program, permissions)).toEqual({ stdout: 'true\nNATIVE_UNAVAILABLE true\n', stderr: '', status: 0 })
  })
})
