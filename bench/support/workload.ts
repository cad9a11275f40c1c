import type { Place } from './places.js'

/** What the conductor gives a workload. */
export interface Context {
  /** How often each case is measured, each time in processes of their own. */
  readonly trials: number
  /** Size of the topic that `reopen` opens, in GiB. */
  readonly gib: number
  /** Peers that need installing may be measured too. */
  readonly peers: boolean
  /**
   * A new empty place. It's removed at the end, if not by `remove` before. A file of `warmBytes` (512 MiB if not given) was
   * written and removed there, so that what is measured isn't a virtual machine asking its host for memory.
   */
  place(kind: Place['kind'], warmBytes?: number): Place
  /** Says on a terminal what is being done. */
  progress(text: string): void
}

export interface Table {
  readonly title: string
  readonly columns: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** Something that was promised, and what came out. */
export interface Target {
  readonly what: string
  readonly target: string
  readonly measured: string
  readonly met: boolean
}

export interface Outcome {
  readonly tables: readonly Table[]
  readonly targets: readonly Target[]
  /** What a reader has to know to judge the figures; also what was left out, and why. */
  readonly notes: readonly string[]
  /** The figures behind the tables, for machines and for the plots. */
  readonly data: unknown
}

export interface Workload {
  readonly name: string
  readonly title: string
  /** What is done, in a sentence or two. */
  readonly about: string
  run(context: Context): Promise<Outcome>
}

/** The children's side of a workload: a module exports `roles`, and each child process plays one. */
export interface Link {
  /** Tells the conductor something. */
  tell(value: unknown): void
  /** The next thing that the conductor says. */
  heard(): Promise<unknown>
}
export type Role = (args: never, link: Link) => Promise<unknown>
export type Roles = Readonly<Record<string, Role>>
