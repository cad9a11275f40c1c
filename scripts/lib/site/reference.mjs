// The reference of all that is exported, by TypeDoc, from the docstrings.
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { must, root } from '../run.mjs'

const entries = ['lib/index.ts', 'lib/broker/index.ts', 'lib/mmap.ts', 'lib/otel/index.ts', 'lib/testkit/index.ts']
const kinds = ['classes', 'interfaces', 'functions', 'type-aliases', 'variables']

/** Writes a page for each name below `out`/reference. Returns its menu. */
export async function stageReference(out, work, packages) {
  const options = {
    entryPoints: entries.map((file) => join(root, file)),
    tsconfig: join(root, 'tsconfig.build.json'),
    plugin: [join(packages, 'typedoc-plugin-markdown', 'dist', 'index.js')],
    out: join(out, 'reference'),
    name: 'Reference',
    readme: 'none',
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    // (`npm run typecheck` is for errors.)
    skipErrorChecking: true,
    // A link of a docstring that leads nowhere fails the build. Names that an exported one stands on need not be exported.
    validation: { invalidLink: true, notExported: false, notDocumented: false },
    treatValidationWarningsAsErrors: true,
    entryFileName: 'index',
    hidePageHeader: true,
    hideBreadcrumbs: true,
    parametersFormat: 'table',
    useHTMLEncodedBrackets: true,
    sanitizeComments: true,
  }
  const file = join(work, 'typedoc.json')
  writeFileSync(file, JSON.stringify(options))
  await must(process.execPath, [join(packages, 'typedoc', 'bin', 'typedoc'), '--options', file])
  return menuOf(join(out, 'reference'))
}

function menuOf(folder) {
  const below = (path) => readdirSync(join(folder, path), { withFileTypes: true })
  const modules = []
  const walk = (path) => {
    const names = below(path).map((entry) => entry.name)
    if (path !== '' && names.includes('index.md')) modules.push(path)
    for (const entry of below(path))
      if (entry.isDirectory() && !kinds.includes(entry.name)) walk(path === '' ? entry.name : `${path}/${entry.name}`)
  }
  walk('')
  return modules.map((module) => ({
    text: module,
    link: `/reference/${module}/`,
    collapsed: true,
    items: kinds
      .filter((kind) => below(module).some((entry) => entry.name === kind))
      .map((kind) => ({
        text: kind.replace('-', ' '),
        collapsed: module !== 'hermes-mq',
        items: below(`${module}/${kind}`).map(({ name }) => ({
          text: name.slice(0, -3),
          link: `/reference/${module}/${kind}/${name.slice(0, -3)}`,
        })),
      })),
  }))
}
