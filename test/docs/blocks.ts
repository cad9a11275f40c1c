import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { docstringContexts } from './docstring-contexts.js'

/*
 * Blocks of code in documents and docstrings. A block that does not stand by itself has its context in comments before it, which a
 * reader does not see:
 *
 *   <!-- example before       code in front of it, up to the line with the closing mark
 *   <!-- example after        code behind it: checks, and what ends it
 *   <!-- example replace      lines `this => that`, done in the block
 *   <!-- example prints       what it has to print
 *   <!-- example broker -->   `hermes serve` runs meanwhile
 *   <!-- example cluster -->  the servers that it names, nats://a.example,b.example,c.example, are there
 *   <!-- example not run: why -->   it is checked as far as possible without being run
 */

export const root = join(import.meta.dirname, '../..')

/** A block, and how it is checked. */
export interface Block {
  /** `docs/api.md:12`: where the block begins. */
  readonly place: string
  readonly language: string
  readonly code: string
  readonly before: string
  readonly after: string
  readonly prints: string | undefined
  readonly broker: boolean
  readonly cluster: boolean
  /** Why it can't be run by a test. */
  readonly notRun: string | undefined
}

const directive = /<!-- example (before|after|replace|prints|broker|cluster|not run:)([\s\S]*?)-->\n+/g

function found(place: string, language: string, text: string, comments: string): Block {
  const given = {
    before: '',
    after: '',
    prints: undefined as string | undefined,
    broker: false,
    cluster: false,
    notRun: undefined as string | undefined,
  }
  let code = text
  for (const [, key, content = ''] of comments.matchAll(directive)) {
    const body = content.replace(/^\n/, '').replace(/\n$/, '')
    if (key === 'before') given.before = body
    else if (key === 'after') given.after = body
    else if (key === 'prints') given.prints = `${body}\n`
    else if (key === 'broker') given.broker = true
    else if (key === 'cluster') given.cluster = true
    else if (key === 'not run:') given.notRun = body.trim()
    else {
      for (const line of body.split('\n')) {
        const [, from = '', to = ''] = /^(.*?) => (.*)$/.exec(line) ?? []
        if (from === '' || !code.includes(from)) throw new Error(`${place}: there is nothing to replace for '${line}'`)
        code = code.replaceAll(from, to)
      }
    }
  }
  return { place, language, code, ...given }
}

const lineOf = (text: string, index: number) => text.slice(0, index).split('\n').length

/** The blocks of a Markdown text. */
export function blocksOf(file: string, text: string): Block[] {
  const pattern =
    /((?:<!-- example (?:(?!-->|<!--)[\s\S])*-->\n+)*)^([ \t]*)(```|~~~)([^\n]*)\n([\s\S]*?)^[ \t]*\3[ \t]*$/gm
  return [...text.matchAll(pattern)].map((match) => {
    const [, comments = '', indent = '', , language = '', code = ''] = match
    const place = `${file}:${lineOf(text, match.index + comments.length)}`
    const plain = indent === '' ? code : code.replace(new RegExp(`^${indent}`, 'gm'), '')
    return found(place, language.trim(), plain, comments)
  })
}

/** The blocks of the docstrings of a source file. Their context stands in docstring-contexts.ts. */
export function docstringBlocksOf(file: string, text: string): Block[] {
  const blocks: Block[] = []
  for (const docstring of text.matchAll(/\/\*\*[\s\S]*?\*\//g)) {
    const plain = docstring[0].replace(/^[ \t]*\* ?/gm, '')
    for (const block of blocksOf(file, plain)) {
      const inner = Number(block.place.split(':').at(-1))
      const place = `${file}:${lineOf(text, docstring.index) + inner - 1}`
      const name = /^(?:export )?(?:class|function|const) (\w+)/.exec(
        text.slice(docstring.index + docstring[0].length).trimStart(),
      )?.[1]
      blocks.push({ ...block, place, ...docstringContexts[`${file} ${name}`] })
    }
  }
  return blocks
}

const pythonDocstring = /"""[\s\S]*?"""/g

/** The blocks of the docstrings of a Python file. Their context stands in docstring-contexts.ts, too, by the class or function, or `module`. */
export function pythonBlocksOf(file: string, text: string): Block[] {
  return [...text.matchAll(pythonDocstring)].flatMap((docstring) => {
    const name = [...text.slice(0, docstring.index).matchAll(/\b(?:class|def) (\w+)/g)].at(-1)?.[1] ?? 'module'
    return blocksOf(file, docstring[0]).map((block) => {
      const line = lineOf(text, docstring.index) + Number(block.place.split(':').at(-1)) - 1
      return { ...block, place: `${file}:${line}`, ...docstringContexts[`${file} ${name}`] }
    })
  })
}

/** Where docstrings of a Python file have something that looks like code and is no block: indented further, behind an empty line, or a prompt. */
export function bareCodeOf(file: string, text: string): string[] {
  return [...text.matchAll(pythonDocstring)].flatMap((docstring) => {
    const plain = docstring[0].replace(/^([ \t]*)```[\s\S]*?^\1```$/gm, (block) => block.replace(/[^\n]/g, ''))
    const margin = /\n([ \t]*)"""$/.exec(plain)?.[1] ?? ''
    const bare = new RegExp(`\\n\\n(?:${margin}[ \\t]+\\S|[ \\t]*>>> )`, 'g')
    return [...plain.matchAll(bare)].map(({ index }) => `${file}:${lineOf(text, docstring.index + index) + 2}`)
  })
}

export function filesBelow(folder: string, ending: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending) && !name.includes('node_modules') && !name.endsWith('.d.ts'))
    .map((name) => join(folder, name))
    .sort()
}

export const pythonPackage = 'clients/python/hermes_mq'

/** Every block of the project's documents and docstrings. */
export function allBlocks(): Block[] {
  const documents = [
    'README.md',
    'CONTRIBUTING.md',
    'test/README.md',
    'scripts/README.md',
    ...['docs', 'clients', 'examples', 'bench', 'native'].flatMap((folder) => filesBelow(folder, '.md')),
  ]
  const read = (file: string) => readFileSync(join(root, file), 'utf8')
  return [
    ...documents.flatMap((file) => blocksOf(file, read(file))),
    ...filesBelow('lib', '.ts').flatMap((file) => docstringBlocksOf(file, read(file))),
    ...filesBelow(pythonPackage, '.py').flatMap((file) => pythonBlocksOf(file, read(file))),
  ]
}
