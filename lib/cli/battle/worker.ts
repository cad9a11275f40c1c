/** One process of a battle: opens what it needs, says so, does as it is told, and reports. */
import { broker } from './broker.js'
import { injector } from './injector.js'
import { described, type Role } from './role.js'
import { subscriber } from './subscriber.js'
import type { Answer, Order, Task } from './task.js'

const progressMs = 200

function prepare(task: Task): Promise<Role> {
  if (task.role === 'broker') return broker(task)
  return task.role === 'injector' ? injector(task) : subscriber(task)
}

function answer(content: Answer): Promise<void> {
  return new Promise((resolve) => process.send?.(content, undefined, undefined, () => resolve()))
}

// Ctrl-C reaches the whole group of processes. The parent decides what becomes of it; without the parent, no process takes the report.
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(name, () => {})
process.once('disconnect', () => process.exit(1))
try {
  const role = await prepare(JSON.parse(process.argv[2] as string) as Task)
  const outcome = new Promise<unknown>((resolve, reject) => {
    process.on('message', (order: Order) => {
      if ('begin' in order) role.begin(order.begin).then(resolve, reject)
      else if ('end' in order) role.end(order.end)
      else role.stop()
    })
  })
  await answer(role.url === undefined ? { ready: true } : { ready: true, url: role.url })
  const timer = setInterval(() => void answer({ progress: role.progress() }), progressMs)
  const content = await outcome
  clearInterval(timer)
  await answer({ outcome: content })
} catch (error) {
  await answer({ error: described(error) })
}
// Stays until the parent ends it: of a process that is gone, the end can be noticed before its last words.
process.channel?.ref()
