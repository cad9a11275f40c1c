// Terminates worker threads at random moments of every call of the addon: { place, kinds, each, seed }. Ends with code 0, or the
// process was taken along by one of them.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { options, pause, report } from './common.mjs'

const { place, kinds, each, seed } = options
const program = new URL('terminate-worker.mjs', import.meta.url)
const file = join(place, 'mapped')
mkdirSync(place, { recursive: true })
writeFileSync(file, new Uint8Array(65_536))

let state = seed
/** Between 0 and 1, the same for the same seed. */
function random() {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return state / 2 ** 32
}

let terminated = 0
let unexpected = ''
async function one(kind, id) {
  const worker = new Worker(program, { workerData: { kind: kind === 'load' ? 'frames' : kind, place, file, id } })
  worker.once('error', (error) => (unexpected += `${kind}: ${error?.stack}\n`))
  // Loading, too, is interrupted: 'load' does not wait until the worker has begun.
  if (kind === 'load') await pause(random() * 60)
  else await new Promise((resolve) => worker.once('message', resolve).once('exit', resolve))
  await pause(random() * random() * 20)
  await worker.terminate()
  terminated++
}

let id = 0
for (const kind of kinds) {
  for (let done = 0; done < each; done += 2) await Promise.all([one(kind, id++), one(kind, id++)])
}
report('result', { terminated, unexpected })
