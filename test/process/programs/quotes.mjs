import { struct, u32 } from '../../../dist/index.js'

/** A row of the quotes file: prices are dollars × 10,000. */
export const Quote = struct({ row: u32, askPrice: u32, askSize: u32, bidPrice: u32, bidSize: u32 })
