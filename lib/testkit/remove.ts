import { rmSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Removes a place. A publisher that has just closed may still be making its next segment there, which takes moments. */
export async function remove(folder: string): Promise<void> {
  for (let look = 1; ; look++) {
    try {
      rmSync(folder, { recursive: true, force: true })
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTEMPTY' || look === 500) throw error
      await sleep(10)
    }
  }
}
