import { HermesError } from '../base/errors.js'

/** Whether a placement can do something: `true`, or why it can't and what to do instead, in words that an error ends with. */
export type Ability = true | string

/**
 * What a placement can do. Errors for what it can't take their words from here, and the contract suite (test/contract) leaves out what a test needs and
 * the placement does not have.
 */
export interface Capabilities {
  /** Any number of publishers and subscribers share a topic. Where not, it's one of each. */
  readonly sharing: Ability
  /** `exclusive` publishers. */
  readonly exclusivity: Ability
  /** Messages stay after they were read: subscribers come late, seek and read again. */
  readonly replay: Ability
  /** A topic takes whatever is published. Where not, it can be full. */
  readonly growth: Ability
  /** A publisher says with `overflow` what becomes of a message that finds the topic full. */
  readonly overflow: Ability
  /** Messages can be `synced`. */
  readonly syncing: Ability
  /** Messages can be `replicated`. */
  readonly replication: Ability
  /** `syncIntervalMs` of publishers. */
  readonly intervalSyncing: Ability
  /** Topics lie in segments of `segmentBytes`, and retention removes whole ones, never the newest. */
  readonly segments: Ability
  /** `retention` of topics. */
  readonly retention: Ability
  /** `lowWaterBytes` of topics. */
  readonly lowWater: Ability
  /** Once `publish` returns, subscribers find the message. Where not, messages arrive between turns of the event loop. */
  readonly immediacy: Ability
  /** `seek` and `subscriber` know at once whether there is such a position. */
  readonly knownPositions: Ability
  /** All messages of a batch have the same timestamp. */
  readonly batchTimestamps: Ability
  /** A publisher whose layout has grown makes it the topic's. */
  readonly growingLayouts: Ability
  /** Groups and durable subscriptions. */
  readonly groups: Ability
  /** `waitForGroups` of `retention`. */
  readonly groupRetention: Ability
  /** Topics can be mirrors of topics elsewhere: `hermes.mirror()`. */
  readonly mirrors: Ability
  /** `hermes.lead()`, and publishers that are fenced by it. */
  readonly leases: Ability
  /** `hermes.admin`: topics are made, altered and deleted, and groups looked after. */
  readonly administration: Ability
  /** The files of topics are at hand: `verify`, `repair`, `backup`, `doctor`, and the options of `open()` for new ones. */
  readonly files: Ability
  /** `metrics()`. */
  readonly metrics: Ability
  /** `health()`. */
  readonly health: Ability
}

/** @param what asks for it, for the message: `Topic 'quotes'` @throws HermesError `UNSUPPORTED` */
export function requireAbility(what: string, ability: Ability, details: Readonly<Record<string, unknown>> = {}): void {
  if (ability !== true) throw new HermesError('UNSUPPORTED', `${what}: ${ability}`, { details })
}
