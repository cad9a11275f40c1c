/**
 * The broker, for programs that serve topics themselves instead of running `hermes serve`. What this file does not list is not part of the interface.
 * @module hermes-mq/broker
 */
export type { AccessEntry } from './access.js'
export { type Broker, serve } from './broker.js'
export type { WebSocketOptions } from './options.js'
export { type BrokerLimits, type BrokerLog, type BrokerOptions, type BrokerTls, defaultLimits } from './options.js'
export type { ReloadOptions } from './reload.js'
