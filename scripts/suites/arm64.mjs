// The native tests, built for ARM64 and run under emulation: CRC-32 by its own instructions, frames, rings and the log, on another memory model's
// instruction set. An emulator on x86 keeps x86's order of stores, so this shows that the code is built and computes right there; that its order
// is right is what the models and ThreadSanitizer show.
//
//   HERMES_ARM64_FILTER   a GoogleTest filter, in place of all tests but those below
import { join } from 'node:path'
import { need } from '../lib/apt.mjs'
import { must, root, run } from '../lib/run.mjs'
import { countGoogleTest, skip } from '../lib/suite.mjs'

/** What user-mode emulation can't show. */
const unwanted = [
  // The emulator's madvise ignores MADV_WIPEONFORK, by which a child knows that it was forked.
  'ForkGuard*',
  '*forked_child*',
  // It doesn't turn a fault at a full file system into the errno that the kernel gives.
  '*LogDiskFull*',
  // Their deadlines are for a processor, not for an interpreter of one.
  'LogProcesses*',
  'LogRetention.removes_nothing_because_of_a_flipped_bit*',
]

export const suite = {
  name: 'arm64',
  timeoutMinutes: 10,
  async run({ log, timeoutMs }) {
    if (process.arch === 'arm64') return skip('this machine is an ARM64 one: the native suite is this suite')
    const missing = await need('g++', 'make', 'cmake', 'g++-aarch64', 'qemu-aarch64', 'gtest-sources')
    if (missing !== undefined) return skip(missing)
    const build = join('build', 'arm64')
    const options = { log, timeoutMs }
    await must(
      'cmake',
      [
        '-S',
        '.',
        '-B',
        build,
        '-DHERMES_BUILD_TESTS=ON',
        '-DCMAKE_BUILD_TYPE=Release',
        '-DCMAKE_SYSTEM_NAME=Linux',
        '-DCMAKE_SYSTEM_PROCESSOR=aarch64',
        '-DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc',
        '-DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++',
        // No ARM64 libraries have to be found at run time, nor GoogleTest's at build time.
        '-DCMAKE_EXE_LINKER_FLAGS=-static',
        '-DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON',
        '-DFETCHCONTENT_SOURCE_DIR_GOOGLETEST=/usr/src/googletest',
      ],
      options,
    )
    await must('cmake', ['--build', build, '--target', 'hermes_tests', '-j2'], options)
    const report = join(root, build, 'report.json')
    const filter = process.env.HERMES_ARM64_FILTER ?? `-${unwanted.join(':')}`
    const program = join(root, build, 'hermes_tests')
    const tests = [program, `--gtest_filter=${filter}`, `--gtest_output=json:${report}`]
    const result = await run('qemu-aarch64-static', tests, options)
    return countGoogleTest(report, result)
  },
}
