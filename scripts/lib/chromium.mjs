// Debian's Chromium without a window, for scripts.
import { chromium } from 'playwright-core'
import { which } from './run.mjs'

/** It asks no other host for anything. As root, in containers, it has no sandbox. */
export function launch() {
  return chromium.launch({
    executablePath: which('chromium'),
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update'],
    timeout: 120_000,
  })
}
