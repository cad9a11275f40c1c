import { join } from 'node:path'
import { open } from '../client/open.js'
import type { Publisher } from '../client/publisher.js'
import { raw } from '../codec/raw.js'
import { makePayload } from './message.js'
import { Oracle, type Violation } from './oracle.js'
import { PowerLossSimulator } from './power-loss.js'
import { Random } from './random.js'
import { readEverything } from './reading.js'
import { remove } from './remove.js'

export interface CampaignOptions {
  /** A folder for the files of the cases; what is made in it is removed again. */
  readonly folder: string
  readonly count: number
  readonly seed: number
  readonly onCase?: (done: number) => void
}

export interface CampaignReport {
  readonly seed: number
  readonly cases: number
  /** What happened in the cases, by name. */
  readonly counts: Readonly<Record<string, number>>
  readonly violations: readonly Violation[]
}

const topic = 'power'
const codec = raw
/** Images that are built of one history. */
const imagesPerHistory = 40

/**
 * Publishes with two publishers, syncing now and then, and builds images of what a power cut could leave at the end. Each is opened, recovered, read and
 * published to again: what had been synced must be there, and nothing else may be wrong. A part of them is cut off again after the recovery.
 */
export async function powerCuts({ folder, count, seed, onCase }: CampaignOptions): Promise<CampaignReport> {
  const random = new Random(seed)
  const counts: Record<string, number> = {
    pagesKept: 0,
    pagesLost: 0,
    pagesTorn: 0,
    filesMissing: 0,
    synced: 0,
    setAside: 0,
    cutTwice: 0,
  }
  const add = (name: string, more: number) => {
    counts[name] = (counts[name] ?? 0) + more
  }
  const violations: Violation[] = []
  for (let done = 0; done < count; ) {
    const historySeed = random.next()
    const source = join(folder, `source-${historySeed}`)
    const { simulator, oracle } = await makeHistory(source, new Random(historySeed))
    const images = Math.min(imagesPerHistory, count - done)
    for (let n = 0; n < images; n++, done++) {
      const imageSeed = random.next()
      const image = join(folder, `image-${imageSeed}`)
      const told = `seed ${seed}, history ${historySeed}, image ${imageSeed}`
      try {
        for (const [name, more] of Object.entries(simulator.image(image, imageSeed))) add(name, more)
        const twice = new Random(imageSeed).fork().chance(0.2)
        if (twice) {
          // The power fails again: while the recovery's own writes are on their way.
          add('cutTwice', 1)
          const again = new PowerLossSimulator(image)
          again.synced()
          const hermes = await open(image, { create: false })
          await (await hermes.topic(topic, { codec, create: false }).publisher()).close()
          await hermes.close()
          // (Nothing was acknowledged in between: all that recovery changed and did not sync may be lost.)
          again.observe()
          const second = `${image}-again`
          again.image(second, imageSeed + 1)
          await judge(second, oracle, told, violations, add)
        } else await judge(image, oracle, told, violations, add)
      } catch (error) {
        violations.push({
          kind: 'lost',
          message: `${told}: ${error instanceof Error ? `${error.name} ${error.message}` : String(error)}`,
        })
      }
      await remove(image)
      await remove(`${image}-again`)
      onCase?.(done + 1)
    }
    add('synced', oracle.acknowledged('synced'))
    await remove(source)
  }
  return { seed, cases: count, counts, violations }
}

async function makeHistory(place: string, random: Random): Promise<{ simulator: PowerLossSimulator; oracle: Oracle }> {
  const oracle = new Oracle()
  const hermes = await open(place)
  const settings = { codec, segmentBytes: 65_536, maxPayloadBytes: 2048 }
  const simulator = new PowerLossSimulator(place)
  const publishers: Publisher<Uint8Array>[] = []
  const numbers = [0, 0]
  for (let writer = 0; writer < 2; writer++) publishers.push(await hermes.topic(topic, settings).publisher())
  // The first flush makes sure of the files' names, too.
  await publishers[0]?.flush('synced')
  simulator.synced()
  const steps = 3 + random.below(30)
  const size = random.pick([16, 64, 300, 1500])
  for (let step = 0; step < steps; step++) {
    const writer = random.below(2)
    const publisher = publishers[writer] as Publisher<Uint8Array>
    const count = 1 + random.below(60)
    const first = numbers[writer] as number
    const payloads = Array.from({ length: count }, (_, n) =>
      makePayload({ writer, number: first + n }, 16 + random.below(size)),
    )
    oracle.attempt(writer, first + count)
    numbers[writer] = first + count
    if (random.chance(0.5)) publisher.publishBatch(payloads)
    else for (const payload of payloads) publisher.publish(payload)
    await publisher.ready()
    if (random.chance(0.5)) simulator.observe()
    if (!random.chance(0.25)) continue
    // Everything that any publisher has written before is synced with it.
    await publisher.flush('synced')
    simulator.synced()
    for (const [id, end] of numbers.entries())
      for (let number = 0; number < end; number++) oracle.acknowledge({ writer: id, number }, 'synced')
  }
  simulator.observe()
  await hermes.close()
  return { simulator, oracle }
}

async function judge(
  place: string,
  oracle: Oracle,
  told: string,
  violations: Violation[],
  add: (name: string, more: number) => void,
): Promise<void> {
  const hermes = await open(place, { create: false })
  try {
    const first = await hermes.topic(topic, { codec, create: false }).publisher()
    const { recovery } = first
    if (recovery?.rebooted !== true)
      violations.push({ kind: 'gap', message: `${told}: recovery did not see the reboot` })
    add('setAside', recovery?.damage.length ?? 0)
    const reading = await readEverything(hermes, topic)
    for (const one of reading.damage)
      violations.push({
        kind: 'gap',
        message: `${told}: damage after recovery: ${one.reason} at segment ${one.segment}, offset ${one.offset}`,
      })
    for (const { kind, message } of oracle.check({ ...reading, level: 'synced' }))
      violations.push({ kind, message: `${told}: ${message}` })
    // It goes on: the next message has the next sequence, and is read.
    first.publish(makePayload({ writer: 99, number: 0 }, 100))
    if (first.lastSequence !== reading.nextSequence)
      violations.push({
        kind: 'gap',
        message: `${told}: the next message got sequence ${first.lastSequence}, not ${reading.nextSequence}`,
      })
    await first.close()
    const after = await readEverything(hermes, topic)
    const last = after.seen.at(-1)
    if (last?.id?.writer !== 99 || after.seen.length !== reading.seen.length + 1 || after.damage.length > 0) {
      violations.push({ kind: 'lost', message: `${told}: what was published after the recovery is not there` })
    }
  } finally {
    await hermes.close()
  }
}
