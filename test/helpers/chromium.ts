import { spawnSync } from 'node:child_process'
import { type Browser, chromium } from 'playwright-core'

/** Debian's, which the suite vitest installs. */
const program = 'chromium'

export const hasChromium = spawnSync(program, ['--version']).status === 0

/** A Chromium without a window. It asks no other host for anything. */
export function launchChromium(): Promise<Browser> {
  const { stdout } = spawnSync('which', [program], { encoding: 'utf8' })
  return chromium.launch({
    executablePath: stdout.trim(),
    // (Tests of containers run as root, where it has no sandbox.)
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update'],
    timeout: 120_000,
  })
}
