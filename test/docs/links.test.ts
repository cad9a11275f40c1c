import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, test } from 'vitest'
import { Hermes } from '../../lib/client/hermes.js'
import { Message } from '../../lib/client/message.js'
import { Publisher } from '../../lib/client/publisher.js'
import { Subscriber } from '../../lib/client/subscriber.js'
import { Topic } from '../../lib/client/topic.js'
import * as hermes from '../../lib/index.js'
import * as mmap from '../../lib/mmap.js'

const root = join(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(root, file), 'utf8')
const manifest = JSON.parse(read('package.json')) as {
  scripts: Record<string, string>
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
}

/** Every document of the project. */
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...['docs', 'examples', 'clients', 'bench', 'native']
    .filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.md') && !name.includes('node_modules'))
        .map((name) => join(folder, name)),
    ),
]

/** A document without its blocks of code, in which nothing is a link or a heading. */
const prose = (text: string) => text.replace(/^(```|~~~)[^\n]*\n[\s\S]*?^\1[^\n]*$/gm, '')

const { anchorOf } = (await import(pathToFileURL(join(root, 'scripts/lib/site/anchors.mjs')).href)) as {
  anchorOf(heading: string): string
}

/** The anchors of a document's headings: a repeated one is numbered. */
function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  const seen = new Map<string, number>()
  for (const [, heading = ''] of prose(text).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const anchor = anchorOf(heading)
    const times = seen.get(anchor) ?? 0
    seen.set(anchor, times + 1)
    anchors.add(times === 0 ? anchor : `${anchor}-${times}`)
  }
  return anchors
}

/** What is wrong with a link, if anything. */
function faultOf(document: string, target: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return undefined
  const [path = '', anchor] = target.split('#')
  const file = path === '' ? join(root, document) : resolve(root, dirname(document), decodeURIComponent(path))
  if (relative(root, file).startsWith('..')) return `${target} leads out of the project`
  if (!existsSync(file)) return `${target} does not exist`
  if (anchor === undefined) return undefined
  if (statSync(file).isDirectory() || !file.endsWith('.md')) return `${target} has an anchor, and is no document`
  return anchorsOf(readFileSync(file, 'utf8')).has(anchor) ? undefined : `${target} has no such heading`
}

function linksOf(text: string): string[] {
  const body = prose(text).replace(/`[^`\n]*`/g, '')
  const inline = [...body.matchAll(/\]\(\s*<?([^)\s>]+)>?(?:\s+"[^"]*")?\s*\)/g)].map(([, target = '']) => target)
  const defined = [...body.matchAll(/^\[[^\]]+\]:\s*(\S+)/gm)].map(([, target = '']) => target)
  return [...inline, ...defined]
}

describe('links', () => {
  test('are found, with what is wrong with them', () => {
    const links = linksOf('[a](x.md#y "t") `[b](c)` \n```\n[d](e)\n```\n[f]: g.md\n[h](#i)')
    expect(links).toEqual(['x.md#y', '#i', 'g.md'])
    expect([...anchorsOf('# A `b`, c!\n## A b c\n```\n# not\n```\n')]).toEqual(['a-b-c', 'a-b-c-1'])
    expect(faultOf('README.md', 'docs/none.md')).toContain('does not exist')
    expect(faultOf('README.md', 'docs/api.md#none')).toContain('no such heading')
    expect(faultOf('README.md', '../elsewhere')).toContain('out of the project')
    expect(faultOf('README.md', 'docs/api.md#errors')).toBeUndefined()
  })

  test.each(documents)('%s: local links and anchors exist', (document) => {
    const faults = linksOf(read(document)).map((target) => faultOf(document, target))
    expect(faults.filter((fault) => fault !== undefined)).toEqual([])
  })
})

describe('commands', () => {
  test.each(['README.md', 'CONTRIBUTING.md', 'scripts/README.md', 'docs/architecture.md', 'docs/operations.md'])(
    '%s names only npm scripts that exist',
    (document) => {
      const named = [...read(document).matchAll(/npm (?:run ([\w:-]+)|(test)\b)/g)].map(
        ([, script, other]) => script ?? other,
      )
      expect(named.length).toBeGreaterThanOrEqual(document === 'docs/operations.md' ? 0 : 2)
      expect(named.filter((script) => manifest.scripts[script as string] === undefined)).toEqual([])
    },
  )
})

describe('docs/api.md', () => {
  /** What stands in code, outside and inside of tables and blocks. */
  const code = [...read('docs/api.md').matchAll(/`([^`\n]+)`/g)].map(([, text = '']) => text).join(' ')
  const named = (name: string) => new RegExp(`(?<![\\w$])${name}(?![\\w$])`).test(code)

  const listed = [...read('lib/index.ts').matchAll(/^export (?:type )?\{([^}]*)\}/gms)]
    .flatMap(([, names = '']) => names.split(','))
    .map((name) =>
      name
        .trim()
        .replace(/^type /, '')
        .replace(/^.* as /, ''),
    )
    .filter((name) => name !== '')

  test('is compared with all that lib/index.ts exports', () => {
    expect(listed).toEqual(expect.arrayContaining(Object.keys(hermes)))
    expect(listed.length).toBeGreaterThan(60)
    expect(read('lib/index.ts')).not.toMatch(/export \*/)
  })

  test.each(listed)('names %s', (name) => {
    expect(named(name)).toBe(true)
  })

  test('names every member of the classes', () => {
    const classes = [Hermes, Topic, Publisher, Subscriber, Message, hermes.HermesError, hermes.Encoder, hermes.Decoder]
    const members = classes.flatMap((type) =>
      Object.getOwnPropertyNames(type.prototype).filter((name) => name !== 'constructor'),
    )
    expect(members.filter((name) => !named(name))).toEqual([])
  })
})

test('docs/errors.md says what to do on every error, and no other document has a table of them', () => {
  const text = read('docs/errors.md')
  const begins = (page: string) => hermes.errorCodes.filter((code) => page.includes(`\n| \`${code}\``))
  expect(begins(text)).toEqual([...hermes.errorCodes])
  expect(documents.filter((document) => begins(read(document)).length > 5)).toEqual(['docs/errors.md'])
})

test('docs/mmap.md names everything in hermes-mq/mmap', () => {
  const text = read('docs/mmap.md')
  expect(Object.keys(mmap.default).filter((name) => !new RegExp(`\`${name}[\`(]`).test(text))).toEqual([])
})

test('docs/decisions/0005-dependencies.md names every dependency, and no other', () => {
  const text = read('docs/decisions/0005-dependencies.md')
  const rows = [...text.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) => [...cell.matchAll(/`([^`]+)`/g)])
  const described = rows.map(([, name = '']) => name).sort()
  expect(described).toEqual([...Object.keys(manifest.dependencies), ...Object.keys(manifest.devDependencies)].sort())
})
