import { readFile } from 'node:fs/promises'
import { serve } from '../../broker/broker.js'
import type { Role } from './role.js'
import type { BrokerOutcome, Task } from './task.js'

/** A broker on loopback for the time of the battle. */
export async function broker({ dir }: Extract<Task, { role: 'broker' }>): Promise<Role> {
  const server = await serve({
    dir,
    port: 0,
    log: ({ level, ...line }) => {
      if (level !== 'info') process.stderr.write(`broker: ${level} ${JSON.stringify(line)}\n`)
    },
  })
  let leave = () => {}
  const left = new Promise<void>((resolve) => {
    leave = resolve
  })
  return {
    url: server.url,
    progress: () => 0,
    async begin() {
      const begun = performance.now()
      const before = process.cpuUsage()
      await left
      const { user, system } = process.cpuUsage(before)
      const ms = performance.now() - begun
      const outcome: BrokerOutcome = {
        cpuPercent: Math.round((user + system) / ms) / 10,
        memoryBytes: await ownMemory(),
      }
      await server.close()
      return outcome
    },
    end: () => leave(),
    stop: () => leave(),
  }
}

/** Anonymous memory of this process: what it has taken for itself. */
async function ownMemory(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024
}
