// Writes the pages of the site, as VitePress reads them, from the documents and examples of the repository.
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, extname, join, posix } from 'node:path'
import { root } from '../run.mjs'
import { anchorOf } from './anchors.mjs'
import { chapters, files, folders, others } from './contents.mjs'
import { forSite } from './markdown.mjs'

const read = (file) => readFileSync(join(root, file), 'utf8')
const titleOf = (text) => /^# (.+)$/m.exec(text)?.[1] ?? ''
const languages = {
  '.ts': 'ts',
  '.py': 'py',
  '.cc': 'cpp',
  '.txt': 'cmake',
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.json': 'json',
}
const block = (file) => `\`\`\`\`${languages[extname(file)] ?? 'txt'}\n${read(file).trimEnd()}\n\`\`\`\`\n`

/** The page of each document, by its path in the repository. */
function documentPages() {
  const pages = new Map(Object.entries(others))
  const found = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
  const listed = chapters.flatMap(([, names]) => names)
  const missing = found.filter((name) => !listed.includes(name.slice(0, -3)))
  if (missing.length > 0)
    throw new Error(`scripts/lib/site/contents.mjs has no place for docs/${missing.join(', docs/')}`)
  for (const name of listed) pages.set(`docs/${name}.md`, name)
  for (const name of readdirSync(join(root, 'docs/decisions')))
    if (name.endsWith('.md')) pages.set(`docs/decisions/${name}`, `decisions/${name.slice(0, -3)}`)
  return pages
}

/** A page for each example: all files of one are on it. */
function examplePages() {
  const below = readdirSync(join(root, 'examples'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|py|cc|txt|json)$/.test(entry.name) && !entry.name.endsWith('lock.json'))
    .map((entry) => posix.join(entry.parentPath.slice(root.length + 1), entry.name))
    .filter((file) => !file.includes('/node_modules/'))
    .sort()
  const pages = new Map()
  for (const file of below) {
    const name = file.split('/')[1].replace(/\.ts$/, '')
    pages.set(name, [...(pages.get(name) ?? []), file])
  }
  return pages
}

/** What an example is for: its README, or the comment that it begins with. As `{ title, about }`. */
function introductionOf(name, parts) {
  const readme = join('examples', name, 'README.md')
  if (existsSync(join(root, readme))) {
    const [title, ...about] = read(readme).split('\n')
    return { title: title.slice(2), about: about.join('\n').trim(), document: readme }
  }
  const source = read(parts.find((file) => /\.(ts|cc)$/.test(file)))
  const [comment = ''] = /^((?:(?:\/\/|#)[^\n]*\n)+)/.exec(source) ?? []
  return { title: name, about: comment.replace(/^(\/\/|#)!?\s?/gm, '').trim(), document: parts[0] }
}

/** Where a link of `document` leads. */
function linker(pages, document) {
  return (target) => {
    const [path, anchor] = target.split('#')
    const file = posix.join(posix.dirname(document), path).replace(/\/$/, '')
    const hash = anchor === undefined ? '' : `#${anchor}`
    if (pages.has(file)) return `/${pages.get(file)}.md${hash}`
    if (folders[file] !== undefined) return `/${folders[file]}.md`
    if (files.includes(file)) return `/files.md#${anchorOf(file)}`
    const [, example] = /^examples\/([\w-]+)(\.ts|\/|$)/.exec(file) ?? []
    if (example !== undefined) return `/examples/${example}.md`
    if (file.startsWith('docs/figures/')) return `/${file.slice('docs/'.length)}`
    throw new Error(`${document} links to ${target}, of which the site has no page`)
  }
}

function homePage(pages) {
  const readme = read('README.md')
  const lead = readme.split('\n').slice(2, readme.split('\n').indexOf('', 2)).join(' ')
  const hero = {
    name: 'Hermes',
    text: 'Messages at the speed of memory',
    tagline: lead,
    actions: [
      { theme: 'brand', text: 'Ten-minute tutorial', link: '/tutorial' },
      { theme: 'alt', text: 'API', link: '/api' },
      { theme: 'alt', text: 'Figures', link: '/benchmarks' },
    ],
  }
  const body = readme.slice(readme.indexOf('\n', readme.indexOf(lead.slice(-20))), readme.indexOf('\n## More'))
  return `---\nlayout: home\nhero: ${JSON.stringify(hero)}\n---\n\n${forSite(body, linker(pages, 'README.md'))}`
}

/** Writes all pages below `out`. Returns the menu: `[{ text, items: [{ text, link }] }]`. */
export function stagePages(out) {
  const pages = documentPages()
  const write = (page, text) => {
    const file = join(out, `${page}.md`)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  const titles = new Map()
  for (const [file, page] of pages) {
    const text = read(file)
    titles.set(page, titleOf(text))
    write(page, forSite(text, linker(pages, file)))
  }
  write('index', homePage(pages))
  cpSync(join(root, 'docs/figures'), join(out, 'figures'), { recursive: true })

  const decisions = [...pages.values()].filter((page) => page.startsWith('decisions/')).sort()
  const list = (items) => items.map(([text, link]) => `- [${text}](${link})`).join('\n')
  const why = 'Each page has the question, what was decided, and what that costs.'
  write(
    'decisions/index',
    `# Decisions\n\n${why}\n\n${list(decisions.map((page) => [titles.get(page), `/${page}.md`]))}\n`,
  )

  const rows = []
  for (const [name, parts] of examplePages()) {
    const { title, about, document } = introductionOf(name, parts)
    const sections = parts.map((file) =>
      parts.length === 1 ? block(file) : `## ${file.slice('examples/'.length)}\n\n${block(file)}`,
    )
    write(`examples/${name}`, `# ${title}\n\n${forSite(about, linker(pages, document))}\n\n${sections.join('\n')}`)
    rows.push(`| [${title}](/examples/${name}.md) | ${about.split('\n')[0]} |`)
  }
  const ran = 'Each is in the package, and is run by a test.'
  write('examples/index', `# Examples\n\n${ran}\n\n| example | shows |\n|---|---|\n${rows.join('\n')}\n`)
  const sections = files.map((file) => `## ${file}\n\n${block(file)}`)
  write('files', `# Files of the package\n\nTo copy and change.\n\n${sections.join('\n')}`)

  const item = (page) => ({ text: titles.get(page).replaceAll('`', ''), link: `/${page}` })
  return [
    ...chapters.map(([text, names]) => ({ text, items: names.map(item) })),
    {
      text: 'Clients and examples',
      items: [
        item('python'),
        { text: 'Examples', link: '/examples/' },
        { text: 'Files of the package', link: '/files' },
      ],
    },
    {
      text: 'Project',
      items: [
        { text: 'Decisions', link: '/decisions/' },
        item('contributing'),
        { text: 'Changes', link: '/changelog' },
      ],
    },
  ]
}
