// Ends of brokers whose sockets are the addon's: node epoll-process.mjs <dir> close|terminate. Ends by itself with code 0.
import { once } from 'node:events'
import { connect } from 'node:net'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { serve } from '../../dist/broker/broker.js'
import { open, text } from '../../dist/index.js'

const rounds = 12

async function served(dir) {
  return serve({ dir, port: 0, engine: 'epoll' })
}

if (isMainThread) {
  const [dir, what] = process.argv.slice(2)
  if (what === 'close') {
    const broker = await served(dir)
    const socket = connect(broker.port, '127.0.0.1')
    socket.on('error', () => {})
    await once(socket, 'connect')
    socket.end()
    await broker.close()
  } else {
    for (let round = 0; round < rounds; round++) {
      const worker = new Worker(new URL(import.meta.url), { workerData: `${dir}/${round}` })
      const [url] = await once(worker, 'message')
      const hermes = await open(url, { reconnect: false })
      const publisher = await hermes.topic('t', { codec: text }).publisher()
      const subscriber = await hermes.topic('t', { codec: text }).subscriber({ from: 'earliest' })
      // Packets under way in both directions, more in each round.
      for (let n = 0; n < 200 * round; n++) publisher.publish('x'.repeat(500))
      await new Promise((resolve) => setTimeout(resolve, round))
      await worker.terminate()
      await subscriber.close().catch(() => {})
      await publisher.close().catch(() => {})
      await hermes.close().catch(() => {})
    }
  }
  process.stdout.write('done\n')
} else {
  const broker = await served(workerData)
  parentPort.postMessage(broker.url)
}
