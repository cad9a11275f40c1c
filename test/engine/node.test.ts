import { once } from 'node:events'
import { connect } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { NodeEngine } from '../../lib/broker/engine/node.js'
import { certificate } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { runBrokerSuite } from './broker.js'
import { Peer, plainPeer } from './host.js'
import { runSeamSuite } from './seam.js'

/* Another engine gets a file like this one. */

const make = <Guest>(...args: ConstructorParameters<typeof NodeEngine<Guest>>) => new NodeEngine<Guest>(...args)

const folder = makeFolder()
const { key, cert } = certificate(folder, 'broker')
removeFolder(folder)

async function tlsPeer(port: number, reads = true): Promise<Peer> {
  const carrier = connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true })
  carrier.on('error', () => {})
  const socket = connectTls({ socket: carrier, ca: cert, host: '127.0.0.1' })
  socket.on('error', () => {})
  await Promise.race([
    once(socket, 'secureConnect'),
    once(socket, 'close').then(() => Promise.reject(new Error('closed in the handshake'))),
  ])
  const peer = new Peer(socket, carrier)
  if (!reads) socket.pause()
  return peer
}

runSeamSuite('node', { make, connect: plainPeer })
runSeamSuite('node, tls', { make, tls: { key, cert, handshakeTimeoutMs: 3000 }, connect: tlsPeer })
runBrokerSuite('node', make)
