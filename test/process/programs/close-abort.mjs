// Subscribers that sleep, are closed, and have their signals fired before anything else happens: { place, topic, rounds }.
import { text } from '../../../dist/index.js'
import { options, pause, place, report } from './common.mjs'

const hermes = await place()
const topic = hermes.topic(options.topic, { codec: text })
const told = { CLOSED: 0, ABORTED: 0 }
for (let round = 0; round < 2 * options.rounds; round++) {
  const controller = new AbortController()
  const subscriber = await topic.subscriber({ wait: 'park' })
  const waiting = subscriber.ready({ signal: controller.signal }).catch((error) => told[error.code]++)
  await pause(1)
  const closes = round % 2 === 0
  if (!closes) controller.abort()
  const closing = subscriber.close()
  if (closes) controller.abort()
  await closing
  await waiting
}
await hermes.close()
report('done', { closed: told.CLOSED, aborted: told.ABORTED })
