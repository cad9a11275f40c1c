import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import type { EngineHost } from '../../lib/broker/engine/engine.js'
import { EpollEngine } from '../../lib/broker/engine/epoll.js'
import { runBrokerSuite } from './broker.js'
import { plainPeer, RecordingHost, until } from './host.js'
import { runSeamSuite } from './seam.js'

const make = <Guest>(host: EngineHost<Guest>) => new EpollEngine<Guest>(host)

runSeamSuite('epoll', { make, connect: plainPeer })
runBrokerSuite('epoll', make)

test('epoll: a peer that takes a part of what waits is known to be alive', async () => {
  const host = new RecordingHost()
  const engine = make(host)
  await engine.listen('127.0.0.1', 0)
  const peer = await plainPeer(engine.port, false)
  const served = await host.one()
  served.socket.write(randomBytes(64 * 1024 * 1024))
  expect(served.count('progressed')).toBe(0)
  peer.socket.resume()
  await until('the news', () => served.count('progressed') > 0)
  await until('all bytes', () => served.socket.waitingBytes === 0)
  peer.socket.destroy()
  await engine.close()
})
