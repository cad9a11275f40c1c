import { HermesError } from '../base/errors.js'
import type { NativeAddon } from './types.js'

/* Takes the place of load.ts in bundles for browsers: see `browser` in package.json. */

export function addonIfPresent(): NativeAddon | undefined {
  return undefined
}

/** @throws HermesError `NATIVE_UNAVAILABLE` */
export function loadAddon(what = 'This'): NativeAddon {
  throw new HermesError('NATIVE_UNAVAILABLE', `${what} can't be used in a browser: it needs the native addon.`)
}
