import { readFileSync } from 'node:fs'
import { join as joinPath } from 'node:path'
import type { Hermes } from '../client/hermes.js'
import { open } from '../client/open.js'
import { msgpack } from '../codec/msgpack.js'
import { raw } from '../codec/raw.js'
import { join, laneOf, lettersName, type Manner, type Plan, topicName, type Worker } from './group-worker.js'
import { makePayload, readPayload } from './message.js'
import type { Seen, Violation } from './oracle.js'
import type { CampaignOptions, CampaignReport } from './power-cuts.js'
import { PowerLossSimulator, syncedByHermes } from './power-loss.js'
import { Random } from './random.js'
import { readEverything } from './reading.js'
import { remove } from './remove.js'
import { SettlementOracle } from './settlement-oracle.js'

/** A broker of a directory, in this process. */
export interface Served {
  readonly url: string
  close(): Promise<void>
}

export interface GroupCutOptions extends CampaignOptions {
  /** Serves a directory to remote members: for instance `serve` of `hermes-mq`. Without it all members are local. */
  readonly serve?: (dir: string) => Promise<Served>
}

const codec = raw
const manners: readonly Manner[] = ['shared', 'exclusive', 'keyed', 'durable']
/** Images that are built of one history. */
const imagesPerHistory = 20
const settings = { codec, segmentBytes: 65_536, maxPayloadBytes: 2048 }
/** Who publishes after the power is back. */
const laterWriter = 99
const laterMessages = 70

interface Group {
  readonly plan: Plan
  readonly oracle: SettlementOracle
}

/** A directory that is open here, and through a broker if there is one. */
class Site {
  readonly local: Hermes
  readonly #remote: Hermes | undefined
  readonly #served: Served | undefined

  private constructor(local: Hermes, remote: Hermes | undefined, served: Served | undefined) {
    this.local = local
    this.#remote = remote
    this.#served = served
  }

  static async open(dir: string, serve: GroupCutOptions['serve']): Promise<Site> {
    const local = await open(dir)
    const served = await serve?.(dir)
    return new Site(local, served && (await open(served.url)), served)
  }

  /** One of the ways in. */
  any(random: Random): Hermes {
    return this.#remote !== undefined && random.chance(0.5) ? this.#remote : this.local
  }

  async close(): Promise<void> {
    await this.#remote?.close()
    await this.local.close()
    await this.#served?.close()
  }
}

/**
 * Publishes, and has members of groups and durable subscriptions work, locally and through a broker, syncing now and then; builds images of what a power cut could leave. Each is opened
 * and recovered, more is published, and all groups handle what there is for them: a settlement that was synced survives, and nothing is lost that was not settled. A part is cut off again after that recovery.
 */
export async function groupPowerCuts({ folder, count, seed, onCase, serve }: GroupCutOptions): Promise<CampaignReport> {
  const random = new Random(seed)
  const counts: Record<string, number> = {
    pagesLost: 0,
    pagesTorn: 0,
    synced: 0,
    delivered: 0,
    remote: 0,
    positionsLost: 0,
    cutTwice: 0,
  }
  const add = (name: string, more: number) => {
    counts[name] = (counts[name] ?? 0) + more
  }
  const violations: Violation[] = []
  for (let done = 0; done < count; ) {
    const historySeed = random.next()
    const source = joinPath(folder, `source-${historySeed}`)
    const { simulator, groups } = await makeHistory(source, new Random(historySeed), serve, add)
    const images = Math.min(imagesPerHistory, count - done)
    for (let n = 0; n < images; n++, done++) {
      const imageSeed = random.next()
      const image = joinPath(folder, `image-${imageSeed}`)
      const told = `seed ${seed}, history ${historySeed}, image ${imageSeed}`
      try {
        const { pagesLost, pagesTorn } = simulator.image(image, imageSeed)
        add('pagesLost', pagesLost)
        add('pagesTorn', pagesTorn)
        const judge = new Judge(told, new Random(imageSeed).fork(), serve, add)
        violations.push(...(await judge.judge(image, groups)))
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
    for (const { oracle } of groups) add('synced', oracle.synced)
    await remove(source)
  }
  return { seed, cases: count, counts, violations }
}

const isOf = (topic: string) => (path: string, content: Uint8Array) =>
  path.includes(`topics/${topic}/`) && syncedByHermes(path, content)
const isGroup = (manner: Manner) => (path: string) => path.endsWith(`/${manner}.grp`)

async function makeHistory(
  place: string,
  random: Random,
  serve: GroupCutOptions['serve'],
  add: (name: string, more: number) => void,
): Promise<{ simulator: PowerLossSimulator; groups: readonly Group[] }> {
  const site = await Site.open(place, random.chance(0.6) ? serve : undefined)
  const simulator = new PowerLossSimulator(place)
  const publisher = await site.local.topic(topicName, settings).publisher()
  await publisher.flush('synced')
  const letters = await site.local.topic(lettersName, { ...settings, codec: msgpack }).publisher()
  await letters.publishAsync({ sequence: 0, payload: new Uint8Array() }, { durability: 'synced' })
  await letters.close()
  const window = random.pick([64, 256, 2048])
  const plans = manners.filter(() => random.chance(0.6)).map((manner) => ({ manner, window }))
  const workers: { readonly worker: Worker; readonly group: Group }[] = []
  const groups: Group[] = []
  for (const plan of plans.length === 0 ? [{ manner: 'shared' as const, window }] : plans) {
    const group = { plan, oracle: new SettlementOracle() }
    groups.push(group)
    const members = plan.manner === 'durable' ? 1 : 1 + random.below(2)
    for (let n = 0; n < members; n++) {
      const hermes = site.any(random)
      if (hermes !== site.local) add('remote', 1)
      workers.push({ worker: await join(hermes, plan), group })
    }
  }
  simulator.synced()
  let published = 0
  for (let step = 5 + random.below(30); step > 0; step--) {
    const many = 1 + random.below(60)
    for (let n = 0; n < many; n++)
      publisher.publish(makePayload({ writer: 0, number: published++ }, 16 + random.below(200)))
    await publisher.ready()
    if (random.chance(0.3)) simulator.observe()
    for (const { worker, group } of workers) {
      if (random.chance(0.8)) await worker.work(random, group.oracle)
      if (random.chance(0.4)) simulator.observe()
      if (!random.chance(0.15)) continue
      const tell = await worker.sync(group.oracle)
      // (letters are synced before the message counts as settled)
      simulator.synced((path, content) => isGroup(group.plan.manner)(path) || isOf(lettersName)(path, content))
      tell()
    }
    if (!random.chance(0.2)) continue
    await publisher.flush('synced')
    simulator.synced(isOf(topicName))
  }
  simulator.observe()
  for (const { worker } of workers) await worker.close()
  await publisher.close()
  await site.close()
  return { simulator, groups }
}

/** Looks at one image. */
class Judge {
  readonly #told: string
  readonly #random: Random
  readonly #serve: GroupCutOptions['serve']
  readonly #add: (name: string, more: number) => void
  readonly #found: Violation[] = []

  constructor(
    told: string,
    random: Random,
    serve: GroupCutOptions['serve'],
    add: (name: string, more: number) => void,
  ) {
    this.#told = told
    this.#random = random
    this.#serve = serve
    this.#add = add
  }

  #tell(kind: Violation['kind'], message: string): void {
    this.#found.push({ kind, message: `${this.#told}: ${message}` })
  }

  async judge(image: string, groups: readonly Group[]): Promise<readonly Violation[]> {
    // What is settled in an image is not settled in the others.
    const own = groups.map(({ plan, oracle }) => ({ plan, oracle: oracle.copy() }))
    let place = image
    if (this.#random.chance(0.25)) {
      this.#add('cutTwice', 1)
      place = `${image}-again`
      await this.#cutAgain(image, place, own)
    }
    await this.#finish(place, own)
    return this.#found
  }

  /** The power fails again, after the recovery, with some work done and nothing synced. */
  async #cutAgain(image: string, target: string, groups: readonly Group[]): Promise<void> {
    const simulator = new PowerLossSimulator(image)
    simulator.synced(() => true)
    const site = await Site.open(image, undefined)
    const cuts = cutsOf(image)
    await (await site.local.topic(topicName, settings).publisher()).close()
    // A cut of the log is noted on the disk before anything else happens.
    simulator.synced((path) => path.endsWith(`${topicName}/control`) && !cuts.equals(cutsOf(image)))
    for (const { plan, oracle } of groups) {
      const worker = await join(site.local, plan)
      simulator.observe()
      for (let round = this.#random.below(3); round > 0; round--) await worker.work(this.#random, oracle)
      simulator.observe()
      await worker.close()
    }
    simulator.observe()
    await site.close()
    simulator.image(target, this.#random.next())
  }

  async #finish(place: string, groups: readonly Group[]): Promise<void> {
    const site = await Site.open(place, this.#random.chance(0.3) ? this.#serve : undefined)
    try {
      const early = new Map<Group, Worker>()
      // Who joins may come before the log was recovered by a publisher.
      if (this.#random.chance(0.3))
        for (const one of groups) early.set(one, await join(site.any(this.#random), one.plan))
      const publisher = await site.local.topic(topicName, settings).publisher()
      for (let number = 0; number < laterMessages; number++)
        publisher.publish(makePayload({ writer: laterWriter, number }, 60))
      const { lastSequence } = publisher
      await publisher.close()
      const { seen: present } = await readEverything(site.local, topicName)
      if (present.filter(({ id }) => id?.writer === laterWriter).length !== laterMessages)
        this.#tell('lost', 'what was published after the recovery is not there')
      const letters = await readLetters(site.local)
      for (const one of groups) {
        const worker = early.get(one) ?? (await join(site.any(this.#random), one.plan))
        const { manner } = one.plan
        const { delivered, stuck } = await worker.drain(lastSequence + 1)
        this.#add('delivered', delivered.length)
        this.#add('positionsLost', worker.positionsLost)
        if (stuck !== undefined) this.#tell('lost', `${manner}: something is left that does not come: ${stuck}`)
        for (const { kind, message } of one.oracle.check({ present, delivered, letters, ...laneOf(manner) }))
          this.#tell(kind, `${manner}: ${message}`)
        await worker.close()
      }
    } finally {
      await site.close()
    }
  }
}

/** Where the control file notes how the log was cut: docs/group-format.md. */
function cutsOf(place: string): Buffer {
  return readFileSync(joinPath(place, 'topics', topicName, 'control')).subarray(1024, 1024 + 8 * 24)
}

/** The messages in the dead-letter topic. */
async function readLetters(hermes: Hermes): Promise<Seen[]> {
  const letters: Seen[] = []
  const topic = hermes.topic(lettersName, { codec: msgpack, create: false })
  await (await topic.publisher()).close()
  const subscriber = await topic.subscriber({ from: 'earliest' })
  const read = () =>
    subscriber.poll((letter) => {
      const { sequence, payload } = letter as { sequence: number; payload: Uint8Array }
      letters.push({ sequence, id: readPayload(payload) })
    }, 4096)
  while (read() > 0);
  await subscriber.close()
  return letters
}
