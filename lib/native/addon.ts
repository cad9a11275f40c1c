import { loadAddon } from './load.js'
import type { NativeAddon } from './types.js'

/**
 * The addon, for what can do nothing without it. Importing this module throws `NATIVE_UNAVAILABLE` where none can be loaded; what works
 * without it too must not import this file, but ask load.ts.
 */
export const native: NativeAddon = loadAddon()
