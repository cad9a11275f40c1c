/* The admin server of a broker, in a thread of its own: what is asked here holds up no client of the broker. */
import { parentPort, workerData } from 'node:worker_threads'
import { HermesError } from '../base/errors.js'
import type { ReloadOptions } from '../broker/reload.js'
import type { AdminOptions } from './options.js'
import { serveAdmin } from './server.js'

const port = parentPort
if (port === null) throw new Error('to be started as a worker thread')
try {
  const server = await serveAdmin(workerData as AdminOptions)
  port.on('message', (asked: ReloadOptions | 'close') => {
    // (the broker has checked it)
    if (asked !== 'close') server.reload(asked)
    else void server.close().then(() => port.close())
  })
  port.postMessage({ url: server.url })
} catch (error) {
  const { message } = error as Error
  port.postMessage({ failed: { code: error instanceof HermesError ? error.code : 'FAILED', message } })
}
