import { test } from 'vitest'
import { certificate, hasOpenssl } from '../helpers/certificates.js'
import { makeFolder, removeFolder } from '../helpers/folder.js'
import { brokerHere } from './broker-here.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'
import { remotePlacement } from './remote.js'

if (hasOpenssl()) {
  const folder = makeFolder()
  const authority = certificate(folder, 'authority')
  const broker = certificate(folder, 'broker', 'authority')
  removeFolder(folder)
  runContract(remotePlacement('tls', brokerHere({ tls: broker }), { tls: { ca: authority.cert } }), cases)
} else {
  test.skip('tls (there is no openssl to make certificates with)', () => {})
}
