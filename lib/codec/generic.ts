import type { Codec } from './codec.js'
import { sealed } from './guarded.js'

/**
 * A codec whose value type is the user's to say: `json` by itself takes and yields `unknown`, and `json<Order>()` is the
 * same codec with `Order` in its place. The type is taken on trust.
 */
export interface GenericCodec extends Codec<unknown> {
  <T>(): Codec<T>
}

/** Makes a codec callable. */
export function generic(codec: Codec<unknown>): GenericCodec {
  const self = (() => self) as unknown as GenericCodec
  // A function has a name of its own, which plain assignment can't replace.
  Object.defineProperties(self, Object.getOwnPropertyDescriptors(codec))
  return sealed(self)
}
