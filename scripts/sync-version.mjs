// npm version: writes the version of package.json to lib/base/version.ts and to the Python client.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './lib/run.mjs'

const file = join(root, 'lib', 'base', 'version.ts')
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
writeFileSync(file, readFileSync(file, 'utf8').replace(/version = '[^']*'/, `version = '${version}'`))
for (const name of ['pyproject.toml', 'hermes_mq/version.py']) {
  const python = join(root, 'clients', 'python', name)
  writeFileSync(
    python,
    readFileSync(python, 'utf8').replace(/^(version|__version__|VERSION) = "[^"]*"/m, `$1 = "${version}"`),
  )
}
