import { bounded, checkWaitOptions, type WaitOptions } from '../base/abort.js'
import { Deferred } from '../base/deferred.js'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkInteger, checkOptions, checkSignal, invalid } from '../base/options.js'
import { checkTopicName } from '../base/topic-name.js'
import type { Codec } from '../codec/codec.js'
import { json } from '../codec/json.js'
import type { MetricsReport } from '../model/metrics.js'
import {
  type BackupOptions,
  type BackupReport,
  type DoctorReport,
  type Maintenance,
  type RepairOptions,
  type RepairReport,
  severities,
  type VerifyOptions,
  type VerifyReport,
} from '../model/reports.js'
import type { BrokerHealth, TopicInfo } from '../model/topic.js'
import type { AdminPort } from '../placement/admin-port.js'
import { type Capabilities, requireAbility } from '../placement/capabilities.js'
import type { Placement } from '../placement/port.js'
import { Administration } from './administration.js'
import { type CloseOptions, checkCloseOptions } from './close-options.js'
import { Leadership, type LeadOptions } from './leadership.js'
import { Mirror, type MirrorTopicOptions } from './mirror.js'
import { Requester, type RequesterOptions } from './requester.js'
import { type RequestHandler, Responder, type ResponderOptions } from './responder.js'
import { Topic, type TopicOwner } from './topic.js'
import { checkCodec, checkTopicOptions, type TopicOptions } from './topic-options.js'

/** What the placement of a place can do. For tests. */
export let capabilitiesOf: (hermes: Hermes) => Capabilities

/** The placement of a place. For mirrors into it. */
let transportOf: (hermes: Hermes) => Placement

/** A place with topics, opened by `open()`. */
export class Hermes implements AsyncDisposable {
  static {
    capabilitiesOf = (hermes) => hermes.#owner.transport.capabilities
    transportOf = (hermes) => {
      hermes.#owner.checkOpen()
      return hermes.#owner.transport
    }
  }

  /** The place as it was given to `open()`. */
  readonly place: string
  /** Makes, alters and deletes topics, and looks after groups. */
  readonly admin: Administration
  readonly #owner: Owner

  /** @internal */
  constructor(place: string, transport: Placement) {
    this.place = place
    this.#owner = new Owner(place, transport)
    this.admin = new Administration(() => {
      this.#owner.checkOpen()
      const { capabilities, administration } = transport
      requireAbility(`Administration of ${place}`, capabilities.administration)
      return administration as AdminPort
    })
  }

  /**
   * Names a topic and says how its values are encoded. Touches no file.
   *
   * @throws HermesError `INVALID_NAME`, `INVALID_ARGUMENT`, `UNKNOWN_OPTION`, `CLOSED`
   */
  topic<In = unknown, Out = In, View = Out>(
    name: string,
    options: TopicOptions<In, Out, View> = {},
  ): Topic<In, Out, View> {
    this.#owner.checkOpen()
    checkTopicName(name)
    const settings = checkTopicOptions(options)
    const { codec = json as unknown as Codec<In, Out, View> } = options
    checkCodec(codec)
    const { name: codecName, fingerprint, schema } = codec
    return new Topic(name, codec, { ...settings, codec: { name: codecName, fingerprint, schema } }, this.#owner)
  }

  /**
   * Opens what asks the responders of a service. The two topics that carry requests and replies are made if they are not there.
   *
   * @param name of the service: its topics are `<name>.requests` and `<name>.replies`
   * @throws HermesError `INVALID_NAME`, `UNKNOWN_OPTION`, `CODEC_MISMATCH`, `CONFIG_MISMATCH`, `UNSUPPORTED` (`ring:`), `CLOSED`, …
   */
  async requester<Request = unknown, Reply = unknown>(
    name: string,
    options: RequesterOptions<Request, Reply> = {},
  ): Promise<Requester<Request, Reply>> {
    this.#checkServices(name)
    return this.#owner.adopt(await Requester.open(this, name, options))
  }

  /**
   * Answers the requests of a service. Responders of all processes share them: each request goes to one, and to another one if that dies with it.
   *
   * @throws HermesError as `requester`
   */
  async responder<Request = unknown, Reply = unknown>(
    name: string,
    handler: RequestHandler<Request, Reply>,
    options: ResponderOptions<Request, Reply> = {},
  ): Promise<Responder<Request, Reply>> {
    this.#checkServices(name)
    return this.#owner.adopt(await Responder.open(this, name, handler, options))
  }

  /**
   * Copies a topic into another place, and goes on with what comes: each message once, in order, however often it is interrupted, and by whomever it is gone on with. In a cluster
   * messages keep their sequences and times; in a directory they get new ones. Only what is synced leaves this machine.
   *
   * @param to the place: a directory or a cluster. It has to stay open as long as the mirror
   * @throws HermesError `NOT_FOUND`; `CONFIG_MISMATCH` if the mirror's name is taken by something else; `CORRUPT` if the mirror is of another topic, or has more than the topic;
   *   `BEHIND_RETENTION` if retention has removed what comes next; `EXCLUSIVE_HELD` for a mirror in a directory that has one already; `UNSUPPORTED` (`ring:`), …
   */
  async mirror(topic: string, to: Hermes, options: MirrorTopicOptions = {}): Promise<Mirror> {
    this.#owner.checkOpen()
    if (!(to instanceof Hermes)) throw invalid("mirror() takes the place to copy to: what 'open()' returns.")
    const { transport } = this.#owner
    const target = { place: to.place, transport: transportOf(to) }
    return this.#owner.adopt(await Mirror.open({ place: this.place, transport }, topic, target, options))
  }

  /**
   * Waits until no other process of the cluster leads this name, and leads it then, until it is released or can't be kept: look at its `signal`. For services of which one may be at work while
   * others stand by. A leader that dies is followed after `leaseMs`.
   *
   * @throws HermesError `UNSUPPORTED` (all but `nats:`), `ABORTED`, `INVALID_NAME`, `ACCESS_DENIED`, …
   */
  async lead(name: string, options: LeadOptions = {}): Promise<Leadership> {
    this.#owner.checkOpen()
    return this.#owner.adopt(await Leadership.take(this.place, this.#owner.transport, name, options))
  }

  #checkServices(name: string): void {
    this.#owner.checkOpen()
    requireAbility(`Requests to '${name}'`, this.#owner.transport.capabilities.groups)
  }

  /** The names of all topics, sorted. @throws HermesError `CLOSED`, `ABORTED`, `TIMED_OUT`, … */
  async topics(options: WaitOptions = {}): Promise<string[]> {
    checkWaitOptions('topics()', options)
    this.#owner.checkOpen()
    return bounded(
      options,
      (signal) => this.#owner.transport.topics(signal),
      () => timedOut('topics()', options),
    )
  }

  /**
   * Asks a broker whether it can serve publishers: room on the disk, open files, topics that failed. What `hermes ping` does.
   *
   * @throws HermesError `UNSUPPORTED` (no broker, or one that does not know), `CLOSED`, `ABORTED`, `TIMED_OUT`, …
   */
  async health(options: WaitOptions = {}): Promise<BrokerHealth> {
    checkWaitOptions('health()', options)
    this.#owner.checkOpen()
    const { transport } = this.#owner
    requireAbility(`health() of ${this.place}`, transport.capabilities.health)
    return bounded(
      options,
      async (signal) => transport.health?.(signal) as Promise<BrokerHealth>,
      () => timedOut('health()', options),
    )
  }

  /**
   * All that is counted in this place, by all processes, living and dead: totals, lags, latencies. Read from files, without asking any process, and
   * off the event loop. `docs/metrics.md` says what each number means.
   *
   * @throws HermesError `UNSUPPORTED` (a broker, rings), `CORRUPT` (the metrics file), `CLOSED`, `ABORTED`, `TIMED_OUT`, …
   */
  async metrics(options: WaitOptions = {}): Promise<MetricsReport> {
    checkWaitOptions('metrics()', options)
    this.#owner.checkOpen()
    const { transport } = this.#owner
    requireAbility(`metrics() of ${this.place}`, transport.capabilities.metrics)
    return bounded(
      options,
      async (signal) => transport.metrics?.(signal) as Promise<MetricsReport>,
      () => timedOut('metrics()', options),
    )
  }

  /** What is known of a topic, whatever its codec. Rejects with `NOT_FOUND` if there is none of this name. */
  async info(topic: string, options: WaitOptions = {}): Promise<TopicInfo> {
    checkWaitOptions('info()', options)
    this.#owner.checkOpen()
    checkTopicName(topic)
    return bounded(
      options,
      (signal) => this.#owner.transport.info(topic, signal),
      () => timedOut('info()', options),
    )
  }

  /**
   * Checks every frame of a topic: lengths, sequences, CRCs, and that segments follow each other. Changes nothing; publishers may go on
   * meanwhile. Damage is reported, not thrown.
   *
   * @throws HermesError `NOT_FOUND`, `ABORTED`, `ACCESS_DENIED`, `IO_FAILED`; `UNSUPPORTED` where the files are elsewhere (`tcp:`)
   */
  async verify(topic: string, options: VerifyOptions = {}): Promise<VerifyReport> {
    const maintenance = this.#maintenance('verify()')
    checkTopicName(topic)
    checkOptions('verify()', options, ['onProgress', 'signal', 'concurrency'])
    const { onProgress, signal, concurrency } = options
    if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid("'onProgress' must be a function.")
    if (concurrency !== undefined) checkInteger('concurrency', concurrency, 1, 64)
    checkSignal(signal)
    return maintenance.verify(topic, options)
  }

  /**
   * Recovers the whole topic, whatever is believed to be good: damage is copied to `quarantine/` and skipped from then on. Nothing is deleted.
   *
   * @throws HermesError `EXCLUSIVE_HELD` while there are publishers, else as `verify`, and `CORRUPT` for what can't be mended
   */
  async repair(topic: string, options: RepairOptions = {}): Promise<RepairReport> {
    const maintenance = this.#maintenance('repair()')
    checkTopicName(topic)
    checkOptions('repair()', options, ['dryRun', 'signal', 'codec'])
    if (options.dryRun !== undefined) checkBoolean('dryRun', options.dryRun)
    if (options.codec !== undefined) checkCodec(options.codec)
    checkSignal(options.signal)
    return maintenance.repair(topic, options)
  }

  /**
   * Copies topics to the directory `to`, which must not exist or be empty, while other processes use them. Of each topic, the copy holds every message up to
   * a sequence, all that was published before the call among them. It is checked, synced, and a place like any other: to restore, open it.
   *
   * @throws HermesError `NOT_FOUND`, `INVALID_ARGUMENT` for a directory that is not empty, `ABORTED`, `ACCESS_DENIED`, `DISK_FULL`, `IO_FAILED`, `CORRUPT` for a
   * topic that can't be opened; `BUSY` if retention removes everything at once; `UNSUPPORTED` where the files are elsewhere (`tcp:`)
   */
  async backup(to: string, options: BackupOptions = {}): Promise<BackupReport> {
    const maintenance = this.#maintenance('backup()')
    if (typeof to !== 'string' || to === '' || /^(shm|ring|tcp|tls|wss?|nats):/i.test(to))
      throw invalid('A backup goes to a directory: give its path.')
    checkOptions('backup()', options, ['topics', 'onProgress', 'signal'])
    const { topics, onProgress, signal } = options
    if (onProgress !== undefined && typeof onProgress !== 'function') throw invalid("'onProgress' must be a function.")
    if (topics !== undefined && !Array.isArray(topics)) throw invalid("'topics' must be an array of names.")
    for (const topic of topics ?? []) checkTopicName(topic)
    checkSignal(signal)
    return maintenance.backup([...new Set(topics ?? (await this.topics()))], to, options)
  }

  /** Looks at the place and the machine under it: who holds what, room, limits, features; and says what to do. */
  async doctor(): Promise<DoctorReport>
  async doctor(more?: unknown): Promise<DoctorReport> {
    if (more !== undefined)
      throw invalid(
        'doctor() looks at the whole place, and takes nothing. verify(topic) checks the messages of one topic.',
      )
    const maintenance = this.#maintenance('doctor()')
    const findings = await maintenance.doctor(await this.topics())
    const worst = Math.max(0, ...findings.map(({ severity }) => severities.indexOf(severity)))
    return { place: this.place, severity: severities[worst] ?? 'ok', findings }
  }

  /**
   * Closes all publishers and subscribers made here, each as its own `close()` does: bounded, whatever became of the broker. Idempotent; a later
   * call may shorten the wait.
   *
   * @throws HermesError `TIMED_OUT`, `ABORTED`: all is closed; `details.unacknowledged` counts the messages of all publishers that may be lost
   */
  close(options: CloseOptions = {}): Promise<void> {
    try {
      checkCloseOptions(options)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.#owner.close(options)
  }

  /** Resolves once closed. */
  closed(): Promise<void> {
    return this.#owner.closed.promise
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #maintenance(what: string): Maintenance {
    this.#owner.checkOpen()
    const { capabilities, maintenance } = this.#owner.transport
    requireAbility(`${what} of ${this.place}`, capabilities.files)
    return maintenance as Maintenance
  }
}

/** Keeps what has to be closed together. */
class Owner implements TopicOwner {
  readonly transport: Placement
  readonly closed = new Deferred<void>()
  readonly #place: string
  readonly #children = new Set<Child>()
  #closing: Promise<void> | undefined

  constructor(place: string, transport: Placement) {
    this.#place = place
    this.transport = transport
  }

  checkOpen(): void {
    if (this.#closing === undefined) return
    throw new HermesError('CLOSED', `${this.#place} is closed. Open it again with open().`)
  }

  adopt<T extends Child>(child: T): T {
    if (this.#closing !== undefined) {
      void child.close().catch(() => {})
      this.checkOpen()
    }
    this.#children.add(child)
    // (a responder's rejects with what ended it)
    const forget = () => this.#children.delete(child)
    void child.closed().then(forget, forget)
    return child
  }

  close(options: CloseOptions): Promise<void> {
    if (this.#closing !== undefined) {
      // Those that are still waiting hear of a shorter bound; what comes of it is told to who called first.
      for (const child of this.#children) void child.close(options).catch(() => {})
    }
    this.#closing ??= this.#close(options)
    return this.#closing
  }

  async #close(options: CloseOptions): Promise<void> {
    const outcomes = await Promise.allSettled([...this.#children].map((child) => child.close(options)))
    await this.transport.close()
    this.closed.resolve()
    const failed = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason as unknown] : []))
    if (failed.length > 0) throw failed.length === 1 ? failed[0] : summed(failed)
  }
}

/** What is closed together with the place. */
interface Child {
  close(options?: CloseOptions): Promise<void>
  closed(): Promise<void>
}

/** One error for several publishers and members of groups that could not be closed in order: the first, with what all of them leave behind. */
function summed(errors: readonly unknown[]): unknown {
  const [first] = errors
  if (!(first instanceof HermesError)) return first
  const known = errors.filter((error) => error instanceof HermesError)
  const unacknowledged = known.reduce((sum, { details }) => sum + (Number(details['unacknowledged']) || 0), 0)
  const topics = [
    ...new Set(known.flatMap(({ details }) => (typeof details['topic'] === 'string' ? [details['topic']] : []))),
  ]
  const others = `${errors.length - 1} more of what was open here did not close in order`
  const more =
    unacknowledged === 0 ? `${others}.` : `${others}; ${unacknowledged} messages in all are not acknowledged.`
  return new HermesError(first.code, `${first.message} ${more}`, {
    cause: first,
    details: { ...first.details, unacknowledged, topics },
  })
}

function timedOut(call: string, { timeoutMs }: WaitOptions): HermesError {
  return new HermesError('TIMED_OUT', `${call} was not answered within ${timeoutMs} ms.`, { details: { timeoutMs } })
}
