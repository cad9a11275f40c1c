import { join } from 'node:path'
import { serve } from '../../lib/broker/broker.js'
import type { BrokerOptions } from '../../lib/broker/options.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'

/** A broker of an empty directory. `close` removes that too. */
export interface StartedBroker {
  readonly url: string
  close(): Promise<void>
}

export type StartBroker = () => Promise<StartedBroker>

/** A broker in this process. */
export function brokerHere(options: Omit<BrokerOptions, 'dir' | 'port'> = {}): StartBroker {
  return async () => {
    const folder = makeFolder()
    const broker = await serve({ dir: join(folder, 'data'), port: 0, ...options })
    return {
      url: broker.url,
      close: async () => {
        await broker.close()
        removeFolder(folder)
      },
    }
  }
}

/** The same, reached through its door for WebSockets. */
export function brokerAtDoor(options: Omit<BrokerOptions, 'dir' | 'port' | 'webSocket'>): StartBroker {
  return async () => {
    const folder = makeFolder()
    const broker = await serve({ dir: join(folder, 'data'), port: 0, webSocket: { port: 0 }, ...options })
    return {
      url: broker.webSocketUrl as string,
      close: async () => {
        await broker.close()
        removeFolder(folder)
      },
    }
  }
}
