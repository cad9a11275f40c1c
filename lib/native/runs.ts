import { type FrameScanner, type FrameSealer, portableScanner, portableSealer } from '../frame/runs.js'
import { addonIfPresent } from './load.js'

const addon = addonIfPresent()

/** Completes the frames of a batch: see `SealScratch`. In the addon if there is one. */
export const frameSealer: FrameSealer = addon?.frameSealer ?? portableSealer

/** Checks the frames of a window: see `FrameScanScratch`. In the addon if there is one. */
export const frameScanner: FrameScanner = addon?.frameScanner ?? portableScanner
