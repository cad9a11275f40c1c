// The C++ core, installed and then used by another CMake project through find_package(hermes).
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { must, root, run } from '../lib/run.mjs'
import { countFaults, skipUnless } from '../lib/suite.mjs'

export const suite = {
  name: 'cmake-package',
  timeoutMinutes: 4,
  async run({ log, print, timeoutMs }) {
    const missing = await skipUnless('g++', 'make', 'cmake')
    if (missing !== undefined) return missing
    const base = join(root, 'build', 'cmake-package')
    const [core, prefix, consumer] = ['core', 'prefix', 'consumer'].map((name) => join(base, name))
    rmSync(prefix, { recursive: true, force: true })
    rmSync(consumer, { recursive: true, force: true })
    const examples = join(base, 'examples')
    rmSync(examples, { recursive: true, force: true })
    const options = { log, timeoutMs }
    await must(
      'cmake',
      ['-S', '.', '-B', core, '-DHERMES_BUILD_TESTS=OFF', `-DCMAKE_INSTALL_PREFIX=${prefix}`],
      options,
    )
    await must('cmake', ['--build', core, '-j2', '--target', 'install'], options)
    await must('cmake', ['-S', 'test/package/cmake', '-B', consumer, `-DCMAKE_PREFIX_PATH=${prefix}`], options)
    await must('cmake', ['--build', consumer], options)
    const { code } = await run(join(consumer, 'consumer'), [], options)
    const fault = (ended) => (ended === 0 ? undefined : `it ended with ${ended}`)
    const results = [{ name: 'a program that found hermes by find_package computes a CRC-32', fault: fault(code) }]
    // The examples are built as their reader would: from the installed package, as a project of their own.
    await must('cmake', ['-S', 'examples/cpp', '-B', examples, `-DCMAKE_PREFIX_PATH=${prefix}`], options)
    await must('cmake', ['--build', examples, '-j2'], options)
    for (const example of ['threads', 'processes']) {
      const ended = await run(join(examples, example), [], { log, timeoutMs: 60_000 })
      results.push({ name: `examples/cpp/${example} runs`, fault: fault(ended.code) })
    }
    return countFaults(results, print)
  },
}
