import { join } from 'node:path'
import { serve } from '../../lib/broker/broker.js'
import { open } from '../../lib/index.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'

runContract(
  {
    name: 'tcp',
    async open() {
      const folder = makeFolder()
      const broker = await serve({ dir: join(folder, 'data'), port: 0 })
      const hermes = await open(broker.url)
      return {
        hermes,
        place: broker.url,
        cleanup: async () => {
          await hermes.close()
          await broker.close()
          removeFolder(folder)
        },
      }
    },
    skip: [],
  },
  cases,
)
