/** How a lease is asked for. */
export interface LeaseOptions {
  /** How long it holds without being renewed, in ms. */
  readonly leaseMs: number
  /** Who holds it, for people. */
  readonly holder: string
  readonly signal: AbortSignal | undefined
}

/** A lease that is held, and renewed until it is released or lost. */
export interface LeasePort {
  /** Grows with each holder: what is fenced by it refuses those before. */
  readonly revision: number
  /** Fires when it is lost or released. Others may hold it a third of `leaseMs` later, not before. */
  readonly ended: AbortSignal
  /** Lets the next one have it at once. */
  release(): Promise<void>
}

/** A placement that gives leases. */
export interface LeasePlacement {
  /** Waits until nobody else holds it. @throws HermesError `ABORTED`, … */
  lease(name: string, options: LeaseOptions): Promise<LeasePort>
}
