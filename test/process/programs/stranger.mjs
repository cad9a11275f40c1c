// Runs as another user than the owner of the directories: { base, mine, shown }.
import { join } from 'node:path'
import { json, open } from '../../../dist/index.js'
import { codeOf, options, report } from './common.mjs'

const { base, mine, shown } = options
const hermes = await open(shown)
const counts = hermes.topic('counts', { codec: json })
report('codes', {
  made: await codeOf(() => open(join(base, 'new'))),
  opened: await codeOf(() => open(mine)),
  publisher: await codeOf(() => counts.publisher()),
  topic: await codeOf(() => hermes.topic('new', { codec: json }).publisher()),
  retention: await codeOf(() => hermes.topic('counts', { codec: json, retention: { bytes: 65_536 } }).publisher()),
})
const subscriber = await counts.subscriber({ from: 'earliest', wait: 'park' })
const poll = () => {
  const values = []
  subscriber.poll((value) => values.push(value))
  return values
}
report('read', { values: poll(), lag: subscriber.lag, nextSequence: (await counts.info()).nextSequence })
report('waiting')
await subscriber.ready()
report('news', { values: poll() })
await hermes.close()
