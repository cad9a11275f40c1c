import { brokerHere } from './broker-here.js'
import { cases } from './cases.js'
import { runContract } from './placement.js'
import { remotePlacement } from './remote.js'

runContract(remotePlacement('tcp', brokerHere(), {}), cases)
