/**
 * `hermes-mq/testkit`: faults, and a judge of what is left after them. See docs/testkit.md.
 * @module hermes-mq/testkit
 */
export { type CrashOptions, type CrashReport, crashPoints, runToCrashPoint } from './crash-points.js'
export {
  type DamageDone,
  damageAtRandom,
  fakeClaim,
  flipBit,
  loseFile,
  overwrite,
  truncate,
  zeroFile,
  zeroPage,
} from './damage.js'
export { damages } from './damages.js'
export { type GroupCutOptions, groupPowerCuts, type Served } from './group-power-cuts.js'
export { type KillOptions, type KillReport, killRounds } from './kill-rounds.js'
export { type MessageId, makePayload, readPayload } from './message.js'
export { Oracle, type Reading, type Seen, type Violation } from './oracle.js'
export { type CampaignOptions, type CampaignReport, powerCuts } from './power-cuts.js'
export { type PowerCut, PowerLossSimulator } from './power-loss.js'
export { Random } from './random.js'
export { readEverything, type WholeTopic } from './reading.js'
export { type GroupReading, SettlementOracle } from './settlement-oracle.js'
