// Before vitest's first test: programs that tests start run from dist/ and load an addon, and both have to be present.
// While either doesn't build, the tests that do without it are still worth running: the others will fail by themselves.
import { ensureAddon, ensureDist } from './build.mjs'

export async function setup() {
  for (const step of [ensureDist, ensureAddon]) {
    try {
      await step()
    } catch (error) {
      console.error(`hermes: ${error.message}`)
    }
  }
}
