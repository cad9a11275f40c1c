import { HermesError } from '../../base/errors.js'
import type { Engine, EngineHost, EngineName, EngineTls } from './engine.js'
import { EpollEngine } from './epoll.js'
import { NodeEngine } from './node.js'
import { Reactor } from './reactor.js'

const noTls = "The engine 'epoll' speaks no TLS: take 'node', or 'auto', which takes 'node' for it."
const noUring = "This version has no engine 'uring': take 'epoll', or 'auto', which takes the best that there is."

/**
 * Makes the engine that was asked for.
 *
 * @param instead told why, if `auto` takes `node` where `epoll` was to be had
 * @throws HermesError `UNSUPPORTED` if it is not to be had here, `LIMIT` if the system gives no descriptor for it
 */
export function makeEngine<Guest>(
  name: EngineName,
  host: EngineHost<Guest>,
  tls: EngineTls | undefined,
  instead: (error: HermesError) => void,
): Engine {
  if (name === 'uring') throw new HermesError('UNSUPPORTED', noUring)
  if (name === 'node') return new NodeEngine(host, tls)
  if (tls !== undefined) {
    if (name === 'auto') return new NodeEngine(host, tls)
    throw new HermesError('UNSUPPORTED', noTls)
  }
  const obstacle = Reactor.obstacle()
  if (obstacle === undefined) return new EpollEngine(host)
  if (name === 'epoll') throw obstacle
  instead(obstacle)
  return new NodeEngine(host, tls)
}
