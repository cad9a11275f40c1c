import { loadAddon } from './load.js'
import type { NativeAddon } from './types.js'

/**
 * The addon, for what can do nothing without it. Where none can be loaded, importing this module is no failure, as a program may import what it
 * does not use: then everything that is taken from `native` throws `NATIVE_UNAVAILABLE`, but for the constants, which are `undefined`. What works
 * without an addon must not import this file, but ask load.ts.
 */
export const native: NativeAddon = presentOrRefusing()

function presentOrRefusing(): NativeAddon {
  try {
    return loadAddon()
  } catch {
    // Modules take constants when they are loaded.
    const constants = { constants: {}, mappingConstants: {} }
    return new Proxy(constants, {
      get: (target, name) => Reflect.get(target, name) ?? Reflect.get(loadAddon(), name),
    }) as NativeAddon
  }
}
