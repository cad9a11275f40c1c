/*
 * Which word of a broker's cell is which: see docs/metrics-format.md. A number is never given to another meaning.
 */

/** Counters: word i of the cell. */
export const brokerCounters = [
  'accepted',
  'receivedBytes',
  'sentBytes',
  'denied',
  'slowConsumers',
  'lost',
  'silent',
  'failed',
  'refusedHandshakes',
  'refusedAddress',
  'refusedUnauthenticated',
  'refusedConnections',
  'refusedDescriptors',
  'refusedLogin',
  'refusedLimit',
  'refusedOther',
  'topicFailures',
  'loopSamples',
  'loopSumUs',
  'webSockets',
  'refusedOrigin',
] as const
export type BrokerCounter = (typeof brokerCounters)[number]

/** States: word 32 + i. */
export const brokerStates = [
  'connections',
  'subscribers',
  'bufferedBytes',
  'beatMs',
  'topics',
  'openWebSockets',
] as const
export type BrokerState = (typeof brokerStates)[number]

export const stateAt = 32
export const histogramAt = 40

export const counterAt = Object.fromEntries(brokerCounters.map((name, index) => [name, index])) as Readonly<
  Record<BrokerCounter, number>
>
export const brokerStateAt = Object.fromEntries(brokerStates.map((name, index) => [name, stateAt + index])) as Readonly<
  Record<BrokerState, number>
>
