/** What the two ends of a flow are asked to do. */
export interface FlowArgs {
  readonly url: string
  /** Values for each publishBatch; 1 = publish one by one. */
  readonly batch: number
  readonly warmup: number
  readonly count: number
}

export interface PacedArgs extends Omit<FlowArgs, 'batch'> {
  /** Messages per second. */
  readonly rate: number
}

export interface PingArgs extends Omit<FlowArgs, 'batch'> {
  readonly spin: boolean
}

/** From the beginning of the first call after the warm-up. `cpuNs` is what the process has used of a processor since. */
export interface Sent {
  readonly begunNs: number
  readonly cpuNs: number
}

export interface Received {
  readonly endedNs: number
  readonly cpuNs: number
}

/** What this process has used so far, all threads, in nanoseconds of a processor. */
export function cpuNs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) * 1000
}
