// Publishes a message for each line that it reads: { place, topic }.
import { createInterface } from 'node:readline'
import { text } from '../../../dist/index.js'
import { options, place, report } from './common.mjs'

const hermes = await place()
const publisher = await hermes.topic(options.topic, { codec: text }).publisher()
report('ready')
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break
  publisher.publish(line)
}
await hermes.close()
process.stdin.destroy()
