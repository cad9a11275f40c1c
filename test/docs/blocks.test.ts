import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { foldersPerTest } from '../helpers/folder.js'
import { type NatsCluster, natsMissing, startNats } from '../helpers/nats-server.js'
import {
  allBlocks,
  type Block,
  bareCodeOf,
  blocksOf,
  filesBelow,
  pythonBlocksOf,
  pythonPackage,
  root,
} from './blocks.js'

const blockTimeoutMs = 60_000
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts
const blocks = allBlocks()
const of = (...languages: string[]) => blocks.filter(({ language }) => languages.includes(language))
const run = (list: readonly Block[]) => list.filter(({ notRun }) => notRun === undefined)
/** Programs are compiled below the project, so that `hermes-mq` is the package as it was built. */
const built = join(root, 'build', 'docs-blocks')
const crashAddon = join(root, 'build', 'crash-points', 'hermes.node')

const nameOf = ({ place }: Block) => place.replace(/[^\w]+/g, '-')

function program(block: Block): string {
  const { language, code, before, after } = block
  if (language !== 'json') return `${before}\n${code}\n${after}\nexport {}\n`
  return `// biome-ignore-all lint: generated\nconst documents: unknown[] = ${JSON.stringify(jsonDocuments(block))}\n${after}\nvoid documents\nexport {}\n`
}

/** The values of a block of JSON: one or several, each beginning on a line of its own. */
function jsonDocuments({ code, place }: Block): unknown[] {
  const found: unknown[] = []
  let text = ''
  for (const line of code.split('\n')) {
    text += `${line}\n`
    if (text.trim() === '') continue
    try {
      found.push(JSON.parse(text))
      text = ''
    } catch {
      // Goes on in the next line.
    }
  }
  if (text.trim() !== '') throw new Error(`${place} is not JSON: ${text}`)
  return found
}

/** Folder of `hermes` and `node`, as an installed package has them. */
function programs(): string {
  const folder = join(built, 'bin')
  mkdirSync(folder, { recursive: true })
  const file = join(folder, 'hermes')
  writeFileSync(file, `#!/bin/sh\nexec "${process.execPath}" "${join(root, 'dist/cli/main.js')}" "$@"\n`)
  chmodSync(file, 0o755)
  return folder
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

const folderOf = foldersPerTest()
const groups = new Set<number>()
afterEach(() => {
  for (const group of groups) {
    try {
      process.kill(-group, 'SIGKILL')
    } catch {
      // All of it has ended.
    }
  }
  groups.clear()
})

/** Runs a program in a fresh folder until it ends, within the bound. Its port is one that is free. */
async function runIn(
  folder: string,
  command: string,
  args: readonly string[],
  port: number,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const env = {
    ...process.env,
    HERMES_DIR: '',
    HERMES_TOKEN: '',
    NO_COLOR: '1',
    PATH: `${programs()}:${process.env['PATH']}`,
    PYTHONPATH: join(root, 'clients/python'),
    PYTHONDONTWRITEBYTECODE: '1',
  }
  const child = spawn(
    command,
    args.map((arg) => ported(arg, port)),
    { cwd: folder, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'], timeout: blockTimeoutMs },
  )
  groups.add(child.pid as number)
  const printed = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => (printed.stdout += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (printed.stderr += text))
  // Not 'close': what it left in the background has its streams.
  const [code] = await once(child, 'exit')
  await new Promise((resolve) => setTimeout(resolve, 50))
  return { code, ...printed }
}

function ported(text: string, port: number): string {
  return text.replaceAll('127.0.0.1:9000', `127.0.0.1:${port}`).replace(/hermes serve/g, `hermes serve --port ${port}`)
}

async function startBroker(folder: string, port: number): Promise<void> {
  const args = [join(root, 'dist/cli/main.js'), 'serve', '--dir', join(folder, 'data'), '--port', String(port)]
  const child = spawn(process.execPath, args, { detached: true, stdio: ['ignore', 'pipe', 'ignore'] })
  groups.add(child.pid as number)
  await once(child.stdout, 'data')
}

/** The servers of examples that have a cluster. */
const clusterUrl = 'nats://a.example,b.example,c.example'
let cluster: Promise<NatsCluster> | undefined
afterAll(async () => {
  await (await cluster)?.close()
})

/** The code with the address of servers that are there. */
async function clustered(code: string): Promise<string> {
  cluster ??= startNats(3)
  return code.replaceAll(clusterUrl, (await cluster).url)
}

async function checkRun(block: Block, command: string, args: readonly string[]): Promise<void> {
  const folder = folderOf()
  const port = await freePort()
  if (block.broker) await startBroker(folder, port)
  const { code, stdout, stderr } = await runIn(folder, command, args, port)
  expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
  if (block.prints !== undefined) expect(stdout).toBe(block.prints)
}

test('blocks are found with their context', () => {
  const text =
    'a\n\n<!-- example before\nx\n-->\n<!-- example replace\n1 => 2\n-->\n```ts\nlet a = 1\n```\n  ```sh\n  b\n  ```\n~~~\nc\n~~~\n<!-- example not run: d -->\n```sh\ne\n```\n'
  expect(
    blocksOf('f', text).map(({ language, code, before, notRun, place }) => [place, language, code, before, notRun]),
  ).toEqual([
    ['f:9', 'ts', 'let a = 2\n', 'x', undefined],
    ['f:12', 'sh', 'b\n', '', undefined],
    ['f:15', '', 'c\n', '', undefined],
    ['f:19', 'sh', 'e\n', '', 'd'],
  ])
  expect(() => blocksOf('f', '<!-- example replace\nx => y\n-->\n```sh\nz\n```\n')).toThrow(/nothing to replace/)
})

test('blocks of Python docstrings are found, and code that is no block', () => {
  const text =
    'class A:\n    """What\n\n    ```python\n    a()\n      b\n    ```\n    """\n\n    def f():\n        """So\n\n            c()\n\n        >>> d()\n        """\n'
  expect(pythonBlocksOf('f', text).map(({ language, code, place }) => [place, language, code])).toEqual([
    ['f:4', 'python', 'a()\n  b\n'],
  ])
  expect(bareCodeOf('f', text)).toEqual(['f:13', 'f:15'])
  const files = filesBelow(pythonPackage, '.py')
  expect(files.flatMap((file) => bareCodeOf(file, readFileSync(join(root, file), 'utf8')))).toEqual([])
  expect(blocks.filter(({ place }) => place.startsWith(pythonPackage)).length).toBeGreaterThan(3)
})

test('every block is of a language that is checked here: text is for what is no code', () => {
  expect(blocks.length).toBeGreaterThan(30)
  const known = ['ts', 'js', 'json', 'sh', 'python', 'text']
  expect(
    blocks.filter(({ language }) => !known.includes(language)).map(({ place, language }) => `${place} '${language}'`),
  ).toEqual([])
  // Only what changes the machine or takes long is not run.
  expect(
    blocks
      .filter(({ notRun }) => notRun !== undefined)
      .every(({ language, notRun }) => language === 'sh' && (notRun as string).length > 10),
  ).toBe(true)
})

/** The names that a block's hidden lines import from the package, and its visible code uses. */
function hiddenNames({ code, before }: Block): string[] {
  const bare = code.replace(/'[^'\n]*'|\/\/[^\n]*/g, '')
  return [...before.matchAll(/^import \{ ([^}]*) \} from 'hermes-mq'$/gm)]
    .flatMap(([, names = '']) => names.split(',').map((name) => name.trim().replace(/^type /, '')))
    .filter((name) => new RegExp(`(?<![\\w.$])${name}(?![\\w:])`).test(bare))
}

test('what a block of a page uses of the package it imports visibly: it can be copied', () => {
  const block = {
    before: "import { json, open, text } from 'hermes-mq'",
    code: "await open('text') // json\n",
  } as Block
  expect(hiddenNames(block)).toEqual(['open'])
  const pages = of('ts', 'js').filter(({ place }) => /\.md:\d+$/.test(place))
  expect(pages.length).toBeGreaterThan(20)
  expect(pages.flatMap((page) => hiddenNames(page).map((name) => `${page.place} ${name}`))).toEqual([])
})

describe('programs', () => {
  const list = of('ts', 'js', 'json')

  beforeAll(() => {
    rmSync(built, { recursive: true, force: true })
    mkdirSync(built, { recursive: true })
    for (const block of list) writeFileSync(join(built, `${nameOf(block)}.ts`), program(block))
    const config = {
      extends: '../../tsconfig.base.json',
      compilerOptions: { rootDir: '.', outDir: './js', noUnusedLocals: false, noUnusedParameters: false },
      include: ['./*.ts'],
    }
    writeFileSync(join(built, 'tsconfig.json'), JSON.stringify(config))
  }, blockTimeoutMs)

  test(
    'compile against the built package',
    () => {
      let output = ''
      try {
        execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', built], { encoding: 'utf8', cwd: root })
      } catch (error) {
        output = (error as { stdout: string }).stdout
      }
      expect(output).toBe('')
    },
    blockTimeoutMs,
  )

  test.for(list.map((block) => [block.place, block] as [string, Block]))(
    '%s runs',
    { timeout: blockTimeoutMs },
    async ([, block], { skip }) => {
      const file = join(built, 'js', `${nameOf(block)}.js`)
      if (block.code.includes('crash-points/hermes.node')) {
        // The suite vitest makes this addon before it runs.
        skip(!existsSync(crashAddon), 'run `npm run build:native -- --crash-points` first')
        writeFileSync(
          file,
          readFileSync(file, 'utf8').replace(/'[^']*build\/crash-points\/hermes\.node'/, JSON.stringify(crashAddon)),
        )
      }
      if (block.cluster) {
        skip(natsMissing !== undefined, natsMissing)
        writeFileSync(file, await clustered(readFileSync(file, 'utf8')))
      }
      await checkRun(block, process.execPath, [file])
    },
  )
})

describe('commands', () => {
  test.each(
    run(of('sh'))
      .filter((block) => !block.cluster || natsMissing === undefined)
      .map((block) => [block.place, block] as const),
  )(
    '%s run',
    async (_, block) => {
      const text = `${block.before}\n${block.code}\n${block.after}`
      await checkRun(block, 'bash', ['-euo', 'pipefail', '-c', block.cluster ? await clustered(text) : text])
    },
    blockTimeoutMs,
  )

  test.each(
    of('sh')
      .filter(({ notRun }) => notRun !== undefined)
      .map((block) => [block.place, block] as const),
  )('%s, which is not run here, names what is there', (_, { code }) => {
    expect(() => execFileSync('bash', ['-n', '-c', code], { stdio: 'pipe' })).not.toThrow()
    const named = [...code.matchAll(/npm run ([\w:-]+)/g)].map(([, script = '']) => script)
    expect(named.filter((script) => scripts[script] === undefined)).toEqual([])
    const files = [...code.matchAll(/(?:^|\s)\.?\/?((?:packaging|clients|scripts)\/[\w./-]+)/g)].map(
      ([, file = '']) => file,
    )
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([])
  })
})

describe('Python programs', () => {
  test.each(run(of('python')).map((block) => [block.place, block] as const))(
    '%s runs',
    async (_, block) => {
      await checkRun(block, 'python3', ['-B', '-c', `${block.before}\n${block.code}\n${block.after}`])
    },
    blockTimeoutMs,
  )
})
