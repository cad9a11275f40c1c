import { randomBytes } from 'node:crypto'
import { open } from '../../lib/index.js'
import { localCapabilities } from '../../lib/placement/local/capabilities.js'
import { removeFolder } from '../helpers/folder.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'

runContract(
  {
    name: 'shm',
    capabilities: localCapabilities,
    async open() {
      const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
      const place = `shm:${name}`
      const hermes = await open(place)
      return {
        hermes,
        place,
        cleanup: async () => {
          await hermes.close()
          removeFolder(`/dev/shm/hermes-${name}`)
        },
      }
    },
  },
  cases,
)
