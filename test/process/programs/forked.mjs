// Publishes one message beside its parent, which it tells so, and waits to be told to end: { place }.
import { json } from '../../../dist/index.js'
import { place } from './common.mjs'

const hermes = await place()
const topic = hermes.topic('counts', { codec: json })
const publisher = await topic.publisher()
const subscriber = await topic.subscriber({ from: 'earliest' })
const seen = []
subscriber.poll((value) => seen.push(value))
publisher.publish(2)
process.send({ seen, lastSequence: publisher.lastSequence })
process.once('message', () => process.disconnect())
