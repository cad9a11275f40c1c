// Goes up to a step of the life of publishers and subscribers, and stops there without closing anything: { place, step }.
import { Numbered, options, pause, place, report } from './common.mjs'

const value = { producer: 1, n: 1, filler: 'x', last: 0 }

async function goTo(step) {
  const hermes = await place()
  if (step === 'opened') return
  const topic = hermes.topic('ticks', { codec: Numbered, segmentBytes: 65_536 })
  if (step === 'topic') return
  const subscriber = await topic.subscriber({ from: 'earliest', wait: options.wait ?? 'adaptive' })
  if (step === 'subscriber') return
  if (step === 'iterating' || step === 'ready') {
    if (step === 'ready') void subscriber.ready().then(() => report('woken'))
    else
      void (async () => {
        for await (const message of subscriber) report('message', { sequence: message.sequence })
      })()
    await pause(50)
    report('waiting')
    process.stdin.once('data', (line) => {
      const told = String(line).trim()
      if (told === 'exit') process.exit(0)
      if (told === 'close') void hermes.close()
      process.stdin.destroy()
    })
    return
  }
  const publisher = await topic.publisher({ durability: step.startsWith('synced') ? 'synced' : 'written' })
  if (step === 'publisher') return
  publisher.publish(value)
  publisher.publishBatch([value, value])
  if (step === 'published' || step === 'synced: published') return
  const under = Array.from({ length: 100 }, () => publisher.publishAsync(value))
  if (step === 'synced: under way') {
    void Promise.all(under).then((receipts) => report('receipts', { count: receipts.length }))
    return
  }
  await Promise.all(under)
  void publisher.flush('synced')
  if (step === 'flushing') return
  await publisher.flush('synced')
  subscriber.poll(() => {})
  if (step === 'polled') return
  if (step === 'exit in a handler') {
    publisher.publish(value)
    subscriber.poll(() => process.exit(0))
  }
  if (step === 'uncaught in a handler') {
    publisher.publish(value)
    subscriber.poll(() => {
      throw new Error('nobody catches this')
    })
  }
  if (step === 'iterated') {
    publisher.publish(value)
    for await (const _ of subscriber) break
    return
  }
  if (step === 'closing') {
    void hermes.close()
    return
  }
  await publisher.close()
  if (step === 'publisher closed') return
  await subscriber.close()
  if (step === 'subscriber closed') return
  await hermes.close()
  if (step !== 'closed') throw new Error(`there is no step '${step}'`)
}

await goTo(options.step)
report('there')
