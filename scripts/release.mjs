// npm run release: makes what is published, into build/release, and tries each piece in an empty place. Publishes nothing.
//
//   npm run release                  all checks; the clone has to be clean
//   npm run release -- --trial       also with changes that are not committed and a changelog that says Unreleased
//   npm run release -- --tag v1.2.3  and the version has to be this one: what a workflow of a tag asks for
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { parseArgs } from 'node:util'
import { need, systemPython } from './lib/apt.mjs'
import { setup } from './lib/build.mjs'
import { fail, timed } from './lib/log.mjs'
import { installPacked, pack } from './lib/packed.mjs'
import { releaseFaults } from './lib/release.mjs'
import { must, root } from './lib/run.mjs'

const { values } = parseArgs({ options: { trial: { type: 'boolean', default: false }, tag: { type: 'string' } } })
const out = join(root, 'build', 'release')
const python = join(root, 'clients', 'python')

/** What the quickstart of the package prints is the judge: both subscribers have everything. */
async function tryNpm(packed) {
  const { folder, env, remove } = await installPacked(packed.tarball)
  try {
    const built = join(root, 'build', 'js', 'examples')
    mkdirSync(join(folder, 'out'), { recursive: true })
    await must('cp', ['-r', join(built, 'quickstart.js'), join(built, 'quickstart'), join(folder, 'out')])
    const { output } = await must(process.execPath, ['out/quickstart.js'], { cwd: folder, env })
    const reports = output.match(/100\.00 % delivered/g)?.length ?? 0
    if (reports !== 2) throw new Error(`the quickstart reported ${reports} full deliveries, not 2: ${output}`)
  } finally {
    remove()
  }
}

async function packPython() {
  // In a copy: setuptools leaves its own folders where it builds.
  const copy = mkdtempSync(join(tmpdir(), 'hermes-python-'))
  try {
    for (const name of ['hermes_mq', 'README.md', 'LICENSE', 'pyproject.toml'])
      await must('cp', ['-r', join(python, name), copy])
    await must('find', [copy, '-name', '__pycache__', '-prune', '-exec', 'rm', '-r', '{}', '+'])
    await must(systemPython, ['-m', 'build', '--no-isolation', '--outdir', out, copy], { cwd: copy })
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
  return readdirSync(out)
    .filter((name) => /\.(whl|tar\.gz)$/.test(name) && /^hermes[-_]mq-/.test(name))
    .map((name) => join(out, name))
}

const greeting = `
import hermes_mq, sys
with hermes_mq.connect(sys.argv[1]) as client:
    topic = client.topic("greetings", "text")
    with topic.publisher() as publisher, topic.subscriber() as subscriber:
        publisher.publish("hello")
        print(publisher.publish_acked("world").result().sequence)
        print([message.value for _, message in zip(range(2), subscriber)], hermes_mq.__file__)
`

/** Installs one file into a virtual environment without network, and runs the quickstart of the client's page against a broker. */
async function tryPython(file) {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-venv-'))
  const broker = spawn(
    process.execPath,
    [join(root, 'dist/cli/main.js'), 'serve', '--port', '0', '--quiet', '--dir', join(folder, 'data')],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  try {
    const [first] = await once(broker.stdout, 'data')
    const url = /tcp:\/\/\S+/.exec(String(first))?.[0] ?? ''
    // (setuptools of the system builds the sdist)
    await must(systemPython, ['-m', 'venv', '--system-site-packages', join(folder, 'venv')])
    const program = join(folder, 'venv', 'bin', 'python')
    await must(program, ['-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps', '--no-build-isolation', file])
    const { output } = await must(program, ['-c', greeting, url], { cwd: folder })
    if (!output.includes("2\n['hello', 'world']") || !output.includes(join(folder, 'venv')))
      throw new Error(`${basename(file)}: the quickstart printed ${output}`)
  } finally {
    broker.kill('SIGTERM')
    if (broker.exitCode === null) await once(broker, 'exit')
    rmSync(folder, { recursive: true, force: true })
  }
}

/** The core as others build it: the sources of the commit, installed, packed, and found by a program of its own. */
async function packCpp(version) {
  const base = join(root, 'build', 'release-cpp')
  rmSync(base, { recursive: true, force: true })
  const name = `hermes-core-${version}-linux-${process.arch}`
  const prefix = join(base, name)
  const options = ['-DHERMES_BUILD_TESTS=OFF', '-DCMAKE_BUILD_TYPE=Release', `-DCMAKE_INSTALL_PREFIX=${prefix}`]
  await must('cmake', ['-S', '.', '-B', join(base, 'core'), ...options])
  await must('cmake', ['--build', join(base, 'core'), '-j2', '--target', 'install'])
  const file = join(out, `${name}.tar.gz`)
  await must('tar', ['--sort=name', '--owner=0', '--group=0', '-czf', file, '-C', base, name])
  const place = mkdtempSync(join(tmpdir(), 'hermes-cpp-'))
  try {
    await must('tar', ['-xzf', file, '-C', place])
    const found = `-DCMAKE_PREFIX_PATH=${join(place, name)}`
    await must('cmake', ['-S', 'examples/cpp', '-B', join(place, 'examples'), found])
    await must('cmake', ['--build', join(place, 'examples'), '-j2'])
    for (const example of ['threads', 'processes']) await must(join(place, 'examples', example), [], { cwd: place })
  } finally {
    rmSync(place, { recursive: true, force: true })
  }
  return file
}

try {
  const faults = await releaseFaults({ isTrial: values.trial, tag: values.tag })
  if (faults.length > 0) fail(`this is no release:\n${faults.map((fault) => `  - ${fault}`).join('\n')}`)
  const missing = await need('python3', 'python3-build', 'python3-venv', 'g++', 'make', 'cmake')
  if (missing !== undefined) fail(missing)
  await setup()
  rmSync(out, { recursive: true, force: true })
  mkdirSync(out, { recursive: true })
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const packed = await timed('packing for npm', pack)
  copyFileSync(packed.tarball, join(out, basename(packed.tarball)))
  await timed('running the quickstart from the tarball', () => tryNpm(packed))
  const files = await timed('packing for Python', packPython)
  if (files.length !== 2) fail(`python3 -m build made ${files.length} files, not a wheel and an sdist`)
  for (const file of files) await timed(`running the quickstart from ${basename(file)}`, () => tryPython(file))
  await timed('packing the C++ core and building its examples from the package', () => packCpp(version))
  const sums = readdirSync(out)
    .sort()
    .map(
      (name) =>
        `${createHash('sha256')
          .update(readFileSync(join(out, name)))
          .digest('hex')}  ${name}\n`,
    )
  writeFileSync(join(out, 'SHA256SUMS'), sums.join(''))
  console.log(
    `${sums.join('')}hermes: version ${version} is in build/release. Publishing is up to you (CONTRIBUTING.md).`,
  )
} catch (error) {
  fail(error.message)
}
