import { join } from 'node:path'
import { open } from '../../lib/index.js'
import { localCapabilities } from '../../lib/placement/local/capabilities.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'

runContract(
  {
    name: 'directory',
    capabilities: localCapabilities,
    async open() {
      const folder = makeFolder()
      const place = join(folder, 'data')
      const hermes = await open(place)
      return {
        hermes,
        place,
        cleanup: async () => {
          await hermes.close()
          removeFolder(folder)
        },
      }
    },
  },
  cases,
)
