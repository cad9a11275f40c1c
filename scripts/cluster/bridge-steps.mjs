// Preloaded into a process of `hermes mirror`: kills it at a step of its bridge, as SIGKILL does it at any. HERMES_BRIDGE_STEP=publish:sent@2 is the second passage of that step.
// The steps are those of the classes behind the mirror ports, and of the client of NATS below them; nothing of this is in the package.
import { createRequire, syncBuiltinESMExports } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

export const steps = {
  out: [
    'out:opened',
    'out:append',
    'publish:sending',
    'publish:sent',
    'publish:later',
    'publish:acknowledged',
    'out:appended',
  ],
  in: [
    'in:opened',
    'mark:writing',
    'mark:written',
    'mark:renamed',
    'in:append',
    'in:batch',
    'in:batched',
    'in:appended',
  ],
}

const require = createRequire(import.meta.url)
const { HERMES_BRIDGE_STEP: chosen, HERMES_BRIDGE_DIST: dist } = process.env
const [wanted, passage = '1'] = (chosen ?? '').split('@')
let passed = 0

function pass(step) {
  if (step !== wanted || ++passed !== Number(passage)) return
  process.kill(process.pid, 'SIGKILL')
}

/** Puts something before and behind a method. */
function wrap(target, method, enter, leave) {
  const original = target[method]
  target[method] = function (...given) {
    enter?.(...given)
    const result = original.apply(this, given)
    return leave === undefined ? result : leave(result)
  }
}

const after = (step) => async (result) => {
  const value = await result
  pass(step)
  return value
}

if (wanted !== '' && dist !== undefined) {
  const load = (file) => import(pathToFileURL(join(dist, file)).href)
  const { NatsMirror } = await load('placement/nats/mirror.js')
  wrap(NatsMirror, 'open', undefined, after('out:opened'))
  wrap(NatsMirror.prototype, 'append', () => pass('out:append'), after('out:appended'))
  const { JetStreamClientImpl } = require(join(require.resolve('@nats-io/jetstream'), '..', 'jsclient.js'))
  wrap(
    JetStreamClientImpl.prototype,
    'publish',
    () => pass('publish:sending'),
    async (result) => {
      pass('publish:sent')
      // (while the servers are at it)
      if (wanted === 'publish:later') setTimeout(() => pass('publish:later'), Math.random() * 3)
      const ack = await result
      pass('publish:acknowledged')
      return ack
    },
  )
  const { LocalMirror } = await load('placement/local/mirror.js')
  wrap(LocalMirror, 'open', undefined, after('in:opened'))
  wrap(LocalMirror.prototype, 'append', () => pass('in:append'), after('in:appended'))
  const { LocalPublisher } = await load('placement/local/publisher.js')
  wrap(
    LocalPublisher.prototype,
    'appendBatch',
    () => pass('in:batch'),
    (isRoomy) => {
      pass('in:batched')
      return isRoomy
    },
  )
  const files = require('node:fs/promises')
  const isMark = (path) => String(path).includes('mirror.json')
  wrap(files, 'open', (path, flags) => isMark(path) && flags === 'w' && pass('mark:writing'))
  const { rename } = files
  files.rename = async (from, to) => {
    if (isMark(from)) pass('mark:written')
    await rename(from, to)
    if (isMark(from)) pass('mark:renamed')
  }
  syncBuiltinESMExports()
}
