// A member of a consumer group whose event loop hangs when it's told to, until somebody else has taken its work.
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openGroup } from '../../../dist/store/group.js'
import { openLog } from '../../../dist/store/native-log.js'
import { options, report } from './common.mjs'

const { place, leaseMs } = options
const topicFolder = join(place, 'topics', 't')
const log = await openLog(topicFolder, 't', null)
const group = await openGroup('t', topicFolder, log, 'g')
const member = await group.join('hung', leaseMs)
report('claimed', { count: member.claim(256) })
createInterface({ input: process.stdin }).once('line', () => {
  const late = group.describe().totals.taken
  report('hanging')
  // Its loop does not turn from here on.
  const end = Date.now() + 60_000
  while (group.describe().totals.taken === late && Date.now() < end)
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
  report('settled', { count: member.settleClaimed(0, 3) })
  member.close()
  group.close()
  log.close()
  process.exit(0)
})
