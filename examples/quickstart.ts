// A publisher process and two subscriber processes share one durable topic. Run it with: npm run quickstart
//
// This file is all three programs: without arguments it is the conductor, which starts the others and prints the delivery report.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { open } from 'hermes-mq'
import { type OrderEvent, Orders, orderFlow } from './quickstart/order-flow.js'
import { formatReport, Report, type ReportFacts } from './quickstart/report.js'

const topic = 'orders'
const count = Number(process.env.QUICKSTART_MESSAGES ?? 1_000_000)
const [role, directory = ''] = process.argv.slice(2)

if (role === 'publisher') await publish()
else if (role === 'subscriber') await subscribe()
else await conduct()

/** Publishes a seeded order flow and says when it is done. */
async function publish(): Promise<void> {
  await using hermes = await open(directory)
  const publisher = await hermes.topic(topic, { codec: Orders }).publisher()
  const begun = performance.now()
  for (const event of orderFlow(count, 2026)) {
    if (!publisher.publish(event)) await publisher.ready()
  }
  const seconds = (performance.now() - begun) / 1000
  await publisher.flush('synced')
  process.send?.({ published: publisher.lastSequence, seconds })
}

/** Reads every message in place, and checks it against the same seeded flow. */
async function subscribe(): Promise<void> {
  await using hermes = await open(directory)
  const subscriber = await hermes.topic(topic, { codec: Orders }).subscriber({ from: 'earliest' })
  const report = new Report(orderFlow(count, 2026))
  process.send?.('ready')
  while (report.received < count) {
    subscriber.poll((event: OrderEvent, message) => report.add(event, message))
    // Give the event loop a turn, so that this process can be told to stop.
    if (subscriber.lag === 0 && report.received < count) await subscriber.ready()
  }
  process.send?.(report.facts())
}

async function conduct(): Promise<void> {
  const place = await mkdtemp(join(tmpdir(), 'hermes-quickstart-'))
  try {
    const subscribers = [start('subscriber', place), start('subscriber', place)]
    await Promise.all(subscribers.map((child) => heard(child)))
    const reports = subscribers.map((child) => heard<ReportFacts>(child))
    const published = await heard<{ published: number; seconds: number }>(start('publisher', place))
    const facts = await Promise.all(reports)
    console.log(formatReport(published.published, published.seconds, facts))
    process.exitCode = facts.every((one) => one.correct && one.received === published.published) ? 0 : 1
  } finally {
    await rm(place, { recursive: true })
  }
}

function start(role: string, place: string): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [role, place])
}

/** The next thing that a process has to say. */
function heard<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => resolve(message as T))
    child.once('exit', (code) => reject(new Error(`a process ended with ${code} before it had said its last`)))
  })
}
