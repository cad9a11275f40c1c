import { brokerHere } from './broker-here.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'
import { remotePlacement } from './remote.js'

// Spread over connections, and compressed where it is worth it: nobody should notice.
runContract(
  remotePlacement('tcp, pooled and compressed', brokerHere(), { connections: 3, compression: 'deflate' }),
  cases,
)
