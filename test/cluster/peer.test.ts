import { execFileSync } from 'node:child_process'
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { foldersPerTest, root } from '../helpers/folder.js'

const folderOf = foldersPerTest()

it('says what to install where the client of NATS is not there', () => {
  const folder = folderOf()
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  for (const name of ['@msgpack/msgpack', '@standard-schema/spec'])
    cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
  cpSync(join(root, 'package.json'), join(folder, 'package.json'))
  const program = join(folder, 'program.mjs')
  writeFileSync(
    program,
    "import { open } from './dist/index.js'\nopen('nats://127.0.0.1').catch(({ code, message }) => console.log(code, message))\n",
  )
  const printed = execFileSync(process.execPath, [program], {
    env: { ...process.env, HERMES_NATIVE: 'none' },
    encoding: 'utf8',
  })
  expect(printed).toContain('UNSUPPORTED')
  expect(printed).toContain('npm install @nats-io/transport-node @nats-io/jetstream')
})
