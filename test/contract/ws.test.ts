import { test } from 'vitest'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { brokerAtDoor } from './broker-here.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'
import { remotePlacement } from './remote.js'

/* All that a broker does for its clients it does through its door for WebSockets, too. */

runContract(remotePlacement('ws', brokerAtDoor({}), {}), cases)

if (hasOpenssl()) {
  const folder = makeFolder()
  const authority = certificate(folder, 'authority')
  const broker = certificate(folder, 'broker', 'authority')
  removeFolder(folder)
  runContract(remotePlacement('wss', brokerAtDoor({ tls: broker }), { tls: { ca: authority.cert } }), cases)
} else {
  test.skip('wss (there is no openssl to make certificates with)', () => {})
}
