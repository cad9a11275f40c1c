// Examples that are packages of their own, since they stand on frameworks: built as a user would, beside this clone's hermes-mq.
import { cpSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { ensureLocked } from './cache.mjs'
import { must, root } from './run.mjs'

export const examplePackages = ['fastify', 'nestjs']

/** Installs what the example stands on, by its lock file, and compiles it. Resolves with the program. */
export async function buildExamplePackage(name) {
  const source = join(root, 'examples', name)
  const packages = await ensureLocked(source, { name: `example-${name}`, title: `what examples/${name} stands on` })
  const folder = join(root, 'build', 'example-packages', name)
  const modules = join(folder, 'node_modules')
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(modules, { recursive: true })
  for (const file of ['package.json', 'tsconfig.json', 'src'])
    cpSync(join(source, file), join(folder, file), { recursive: true })
  for (const entry of readdirSync(packages))
    if (entry !== '.bin') symlinkSync(join(packages, entry), join(modules, entry))
  symlinkSync(root, join(modules, 'hermes-mq'))
  const types = ['--typeRoots', join(root, 'node_modules', '@types')]
  await must(join(root, 'node_modules', '.bin', 'tsc'), ['-p', folder, ...types])
  return join(folder, 'build', 'main.js')
}
