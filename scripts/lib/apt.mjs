// System packages: installed by apt-get where that is possible without asking, named in a message where it is not.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { say, timed } from './log.mjs'
import { must, run, which } from './run.mjs'

/** What a script may need: how to see that it is here, and the Debian package that brings it. */
export const tools = {
  'g++': { package: 'g++', present: () => which('g++') !== undefined },
  make: { package: 'make', present: () => which('make') !== undefined },
  python3: { package: 'python3', present: () => which('python3') !== undefined },
  cmake: { package: 'cmake', present: () => which('cmake') !== undefined },
  gtest: { package: 'libgtest-dev', present: () => existsSync('/usr/include/gtest/gtest.h') },
  benchmark: { package: 'libbenchmark-dev', present: () => existsSync('/usr/include/benchmark/benchmark.h') },
  gcc: { package: 'gcc', present: () => which('gcc') !== undefined },
  spin: { package: 'spin', present: () => which('spin') !== undefined },
  clang: { package: 'clang', present: () => which('clang++') !== undefined },
  // libFuzzer and the sanitizers: only recommended by clang, which is of no use for fuzzing without them.
  'clang-rt': { package: 'libclang-rt-dev', present: hasFuzzer },
  openssl: { package: 'openssl', present: () => which('openssl') !== undefined },
  chromium: { package: 'chromium', present: () => which('chromium') !== undefined },
  // With prometheus itself.
  promtool: { package: 'prometheus', present: () => which('promtool') !== undefined },
  strace: { package: 'strace', present: () => which('strace') !== undefined },
  'systemd-analyze': { package: 'systemd', present: () => which('systemd-analyze') !== undefined },
  'python3-yaml': {
    package: 'python3-yaml',
    present: () => spawnSync('python3', ['-c', 'import yaml'], { stdio: 'ignore' }).status === 0,
  },
  'python3-build': {
    package: 'python3-build',
    present: () => systemPythonHas('build, setuptools, wheel'),
    more: ['python3-setuptools', 'python3-wheel'],
  },
  'python3-venv': {
    package: 'python3-venv',
    present: () => systemPythonHas('ensurepip, venv'),
    more: ['python3-pip'],
  },
  'g++-aarch64': { package: 'g++-aarch64-linux-gnu', present: () => which('aarch64-linux-gnu-g++') !== undefined },
  'qemu-aarch64': { package: 'qemu-user-static', present: () => which('qemu-aarch64-static') !== undefined },
  'gtest-sources': { package: 'googletest', present: () => existsSync('/usr/src/googletest/CMakeLists.txt') },
}

/** The Python that Debian's packages are for: another one may come first on the PATH. */
export const systemPython = '/usr/bin/python3'

function systemPythonHas(modules) {
  // Not from the clone: its folder build/ would do for the module build.
  return spawnSync(systemPython, ['-c', `import ${modules}`], { stdio: 'ignore', cwd: '/' }).status === 0
}

/** Whether clang links a fuzz target. */
function hasFuzzer() {
  const program = 'extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
  const args = ['-x', 'c++', '-', '-fsanitize=address,undefined,fuzzer', '-o', '/dev/null']
  return spawnSync('clang++', args, { input: program, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
}

export const canInstall = () => process.getuid?.() === 0 && which('apt-get') !== undefined

let updated = false

/**
 * Makes sure that the named tools are here, and installs on Debian as root those that are not.
 * Returns undefined when all are here, else a sentence that says what is missing and how to get it.
 */
export async function need(...names) {
  const missing = () => names.filter((name) => !tools[name].present())
  if (missing().length === 0) return undefined
  const packages = missing().flatMap((name) => [tools[name].package, ...(tools[name].more ?? [])])
  const command = `apt-get install -y ${packages.join(' ')}`
  if (!canInstall()) {
    const how = which('apt-get') === undefined ? 'install them with your package manager' : `run: sudo ${command}`
    return `missing: ${missing().join(', ')}; ${how}`
  }
  await timed(`installing ${packages.join(' ')} with apt-get`, async () => {
    const env = { DEBIAN_FRONTEND: 'noninteractive' }
    if (!updated) {
      // One unreachable extra source must not stop the work: what counts is whether the install succeeds.
      const update = await run('apt-get', ['update', '-q'], { env })
      if (update.code !== 0) say('apt-get update reported errors; going on with the package lists that are there')
      updated = true
    }
    await must('apt-get', ['install', '-q', '-y', '--no-install-recommends', ...packages], { env })
  })
  const still = missing()
  return still.length === 0 ? undefined : `still missing after ${command}: ${still.join(', ')}`
}
