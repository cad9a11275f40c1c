// Plays one role of a workload in a process of its own: node child.js <module> <role> <arguments as JSON>
import type { Said } from './support/children.js'
import type { Link, Roles } from './support/workload.js'

const [module = '', role = '', args = 'null'] = process.argv.slice(2)
const heard: unknown[] = []
let listener: ((value: unknown) => void) | undefined

const link: Link = {
  tell: (note) => say({ note }),
  heard: () =>
    new Promise((resolve) => {
      if (heard.length > 0) resolve(heard.shift())
      else listener = resolve
    }),
}

process.on('message', (message: { told: unknown }) => {
  const waiting = listener
  listener = undefined
  if (waiting === undefined) heard.push(message.told)
  else waiting(message.told)
})
// Without its parent process the result is not needed.
process.on('disconnect', () => process.exit(1))

function say(said: Said): void {
  process.send?.(said)
}

try {
  const { roles } = (await import(`./${module}.js`)) as { roles: Roles }
  const play = roles[role] as ((args: unknown, link: Link) => Promise<unknown>) | undefined
  if (play === undefined) throw new Error(`${module} has no role '${role}'`)
  const result = await play(JSON.parse(args), link)
  say({ result: result ?? null })
} catch (error) {
  say({ failed: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  process.exitCode = 1
}
process.removeAllListeners('disconnect')
process.removeAllListeners('message')
process.disconnect?.()
