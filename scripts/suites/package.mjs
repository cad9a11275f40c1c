// The tarball that would be published: its files, its types, and its use where there is no compiler.
import { existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { join, posix } from 'node:path'
import { ensureDist } from '../lib/build.mjs'
import { installPacked, pack } from '../lib/packed.mjs'
import { prebuildNames } from '../lib/prebuilds.mjs'
import { root, run, which } from '../lib/run.mjs'
import { countFaults } from '../lib/suite.mjs'

const allowed = [
  /^dist\/[\w/-]+\.(js|d\.ts)$/,
  /^dist\/page\/(index\.html|icon\.svg|(style|uplot)\.css|uplot-LICENSE\.txt)$/,
  /^prebuilds\/(hermes-[\w-]+\.node|manifest\.json)$/,
  /^(package\.json|README\.md|LICENSE|CHANGELOG\.md|CONTRIBUTING\.md|Dockerfile|compose\.yaml)$/,
  // What the documents link to: the package's page on npm has no other place for them.
  /^docs\/[\w./-]+\.(md|svg|png)$/,
  /^examples\/[\w./-]+\.(ts|js|py|md|sh|cc|txt|json)$/,
  /^packaging\/systemd\/hermes\.(service|env)$/,
  /^packaging\/(grafana\/hermes\.json|prometheus\/hermes-alerts\.yml)$/,
  /^scripts\/linux-tuning\.sh$/,
  /^packaging\/cluster\/(compose\.yaml|nats\.conf)$/,
  /^clients\/python\/(hermes_mq\/(\w+\.py|py\.typed)|README\.md|pyproject\.toml|LICENSE)$/,
]
/** 2.3 MiB of it are the addons of four targets, 0.4 the pictures of the documents. */
const maxUnpackedBytes = 6.5 * 1024 * 1024

/** Local links of a document, without those in code. An anchor in the document itself is no target. */
function linksOf(text) {
  const prose = text.replace(/^(```|~~~)[^\n]*\n[\s\S]*?^\1[^\n]*$/gm, '').replace(/`[^`\n]*`/g, '')
  return [...prose.matchAll(/\]\(\s*([^)#\s][^)\s]*)\s*\)/g)].map(([, target]) => target)
}

function faultsOfContent({ files, unpackedBytes }) {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const strays = files.filter((file) => !allowed.some((pattern) => pattern.test(file)))
  const wanted = ['README.md', 'LICENSE', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts', 'dist/native/addon.js']
  wanted.push('dist/browser.js', 'dist/page/index.html', 'dist/page/page.js', 'dist/page/uplot-LICENSE.txt')
  wanted.push(...prebuildNames().map((name) => `prebuilds/${name}`))
  wanted.push(...Object.values(manifest.bin ?? {}).map((file) => file.replace(/^\.\//, '')))
  const lacking = wanted.filter((file) => !files.includes(file))
  const hooks = ['preinstall', 'install', 'postinstall', 'prepare'].filter(
    (name) => manifest.scripts[name] !== undefined,
  )
  const folders = new Set(files.flatMap((file) => file.split('/').map((_, at, parts) => parts.slice(0, at).join('/'))))
  const dangling = files
    .filter((file) => file.endsWith('.md'))
    .flatMap((file) =>
      linksOf(readFileSync(join(root, file), 'utf8'))
        .filter((target) => !/^[a-z]+:/.test(target))
        .map((target) => posix.join(posix.dirname(file), target.replace(/#.*/, '')).replace(/\/$/, ''))
        .filter((target) => !files.includes(target) && !folders.has(target))
        .map((target) => `${file} links to ${target}`),
    )
  return [
    { name: 'every link in a document of the tarball leads into it', fault: dangling.join(', ') || undefined },
    { name: 'the tarball holds nothing but the package', fault: strays.join(', ') || undefined },
    { name: 'the tarball holds all of the package', fault: lacking.join(', ') || undefined },
    {
      name: 'the tarball stays small',
      fault: unpackedBytes > maxUnpackedBytes ? `${unpackedBytes} bytes unpacked` : undefined,
    },
    {
      name: 'installing runs no script',
      // npm runs node-gyp by itself where it finds a binding.gyp.
      fault: hooks.join(', ') || (files.includes('binding.gyp') ? 'binding.gyp is in the tarball' : undefined),
    },
  ]
}

export const suite = {
  name: 'package',
  timeoutMinutes: 5,
  async run({ log, print }) {
    await ensureDist()
    const packed = await pack()
    print(packed.files.join('\n'))
    const results = faultsOfContent(packed)
    const expect = async (name, program, args, options = {}) => {
      const { code } = await run(program, args, { log, timeoutMs: 120_000, ...options })
      results.push({ name, fault: code === 0 ? undefined : `${program} ended with ${code}` })
    }
    await expect('publint finds nothing', 'node_modules/.bin/publint', ['--strict', packed.tarball])
    // An ES module only: `require` of it works from Node 20.19, which is what the ignored rule warns about. The node16
    // profile leaves out the resolution of Node 10, which knows no "exports".
    const attw = ['--profile', 'node16', '--ignore-rules', 'cjs-resolves-to-esm', '--no-color', packed.tarball]
    await expect('the types resolve for every module system', 'node_modules/.bin/attw', attw)

    const { folder, env, remove } = await installPacked(packed.tarball)
    try {
      for (const name of ['g++', 'cc', 'make', 'python3']) {
        if (which(name, env.PATH) !== undefined) throw new Error(`${name} is on the PATH of the bare machine`)
      }
      const tsc = join(root, 'node_modules', '.bin', 'tsc')
      const types = join(folder, 'node_modules', '@types')
      mkdirSync(types, { recursive: true })
      if (!existsSync(join(types, 'node')))
        symlinkSync(join(root, 'node_modules', '@types', 'node'), join(types, 'node'))
      await expect('TypeScript with NodeNext compiles against it', tsc, ['-p', folder])
      // A CommonJS file that imports an ES module is for NodeNext alone.
      const esm = [
        '--ignoreConfig',
        '--noEmit',
        '--skipLibCheck',
        'false',
        '--target',
        'es2022',
        '--lib',
        'es2022,esnext.disposable',
        '--strict',
        '--types',
        'node',
      ]
      for (const [kind, ...module] of [
        ['Node16', '--module', 'node16'],
        ['a bundler', '--module', 'esnext', '--moduleResolution', 'bundler'],
      ]) {
        await expect(`TypeScript for ${kind} compiles against it`, tsc, [...esm, ...module, 'esm.ts'], { cwd: folder })
      }
      const [major, minor] = process.versions.node.split('.').map(Number)
      const programs = ['out/esm.js', 'out/addon.js']
      if (major > 20 || minor >= 19) programs.push('out/cjs.cjs')
      for (const program of programs) {
        await expect(`${program} runs`, process.execPath, [program], { cwd: folder, env })
      }
      const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
      for (const name of Object.keys(manifest.bin ?? {})) {
        const program = join(folder, 'node_modules', '.bin', name)
        await expect(`${name} --version runs`, program, ['--version'], { cwd: folder, env })
      }
    } finally {
      remove()
    }
    return countFaults(results, print)
  },
}
