import { randomBytes } from 'node:crypto'
import { open } from '../../lib/index.js'
import { ringCapabilities } from '../../lib/placement/ring/capabilities.js'
import { removeFolder } from '../helpers/folder.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'

// What a ring can't do is refused, and what holds instead: test/ring/topic.test.ts.
runContract(
  {
    name: 'ring',
    capabilities: ringCapabilities,
    async open() {
      const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
      const place = `ring:${name}`
      const hermes = await open(place)
      return {
        hermes,
        place,
        cleanup: async () => {
          await hermes.close()
          removeFolder(`/dev/shm/hermes.rings-${name}`)
        },
      }
    },
  },
  cases,
)
