/** What bench processes are told, as the JSON argument of worker.js, and what they answer over the channel to their parent. */
export type Task =
  | { readonly role: 'publish'; readonly place: string; readonly messages: number; readonly batch: number }
  | { readonly role: 'publish-synced'; readonly place: string; readonly messages: number; readonly awaiting: number }
  | { readonly role: 'receive'; readonly place: string; readonly messages: number }
  | { readonly role: 'ping'; readonly place: string; readonly rounds: number }
  | { readonly role: 'pong'; readonly place: string }

/** Percentiles in nanoseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export interface Outcome {
  readonly messages: number
  readonly seconds: number
  readonly latencyNs?: Latency
}

/** `ready`: everything is open; the work begins with `go`. */
export type Answer = { readonly ready: true } | { readonly outcome: Outcome } | { readonly error: string }
