// Configures, builds and runs the GoogleTest tests, plain or under a sanitizer.
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { must, root, run, which } from './run.mjs'
import { countGoogleTest, skip, skipUnless } from './suite.mjs'

/**
 * @param folder below build/
 * @param options for CMake
 * @param program the command and options before the test program's own
 * @param target the test program: `hermes_tests`, or `hermes_crash_tests`, which has the core's crash points
 */
export async function runNativeTests(
  { folder, options, filter = '*', env, program = [], target = 'hermes_tests' },
  { log, timeoutMs },
) {
  if (!readdirSync(join(root, 'native', 'test')).some((name) => name.endsWith('_test.cc'))) {
    return { passed: 0, failed: 0, skipped: 0 }
  }
  const missing = await skipUnless('g++', 'make', 'cmake', 'gtest')
  if (missing !== undefined) return missing
  const build = join('build', folder)
  await must('cmake', ['-S', '.', '-B', build, '-DHERMES_BUILD_TESTS=ON', ...options], { log, timeoutMs })
  await must('cmake', ['--build', build, '--target', target, '-j2'], { log, timeoutMs })
  const report = join(build, `${target}.json`)
  rmSync(join(root, report), { force: true })
  const command = [...program, join(root, build, target), `--gtest_filter=${filter}`]
  command.push(`--gtest_output=json:${join(root, report)}`)
  const result = await run(command[0], command.slice(1), { env, log, timeoutMs })
  return countGoogleTest(join(root, report), result)
}

/** Sanitizers want addresses where they expect them, which newer kernels' randomisation upsets. */
export function withoutAddressRandomisation() {
  return which('setarch') === undefined ? [] : ['setarch', process.arch === 'x64' ? 'x86_64' : 'aarch64', '-R']
}

/** Whether the compiler has the sanitizer's runtime. */
export async function skipUnlessSanitizer(name) {
  const missing = await skipUnless('g++')
  if (missing !== undefined) return missing
  const probe = await run('sh', ['-c', `echo 'int main(){}' | g++ -x c++ - -fsanitize=${name} -o /dev/null`])
  return probe.code === 0 ? undefined : skip(`g++ has no -fsanitize=${name} here`)
}

export const exists = (path) => existsSync(join(root, path))
