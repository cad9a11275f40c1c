/** Nanoseconds since 1970, in the 64 bits of the log's timestamps: these end in 2554, and Dates much later. */
export function nanosecondsOf(date: Date): bigint {
  const exact = BigInt(date.getTime()) * 1_000_000n
  return exact > 0xffff_ffff_ffff_ffffn ? 0xffff_ffff_ffff_ffffn : exact
}
