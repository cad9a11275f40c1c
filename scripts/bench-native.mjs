// npm run bench:native: builds the Google Benchmark benches and runs them. Further options go to the benches:
//   npm run bench:native -- --benchmark_filter=Crc32 --benchmark_min_time=1
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { need } from './lib/apt.mjs'
import { fail, timed } from './lib/log.mjs'
import { must, root } from './lib/run.mjs'

const missing = await need('g++', 'make', 'cmake', 'benchmark')
if (missing !== undefined) fail(missing)
const build = join('build', 'bench')
try {
  await timed('building the native benches', async () => {
    const options = ['-DCMAKE_BUILD_TYPE=Release', '-DHERMES_BUILD_BENCH=ON', '-DHERMES_BUILD_TESTS=OFF']
    await must('cmake', ['-S', '.', '-B', build, ...options])
    await must('cmake', ['--build', build, '--target', 'hermes_bench', '-j2'])
  })
} catch (error) {
  fail(error.message)
}
const bench = spawn(join(root, build, 'hermes_bench'), process.argv.slice(2), { cwd: root, stdio: 'inherit' })
bench.once('close', (code) => process.exit(code ?? 1))
