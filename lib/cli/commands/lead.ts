import { type ChildProcess, spawn } from 'node:child_process'
import { constants } from 'node:os'
import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { checkTopicName } from '../../base/topic-name.js'
import type { Leadership } from '../../client/leadership.js'
import { requireAbility } from '../../placement/capabilities.js'
import { withPlace } from '../place.js'
import type { Session } from '../session.js'
import { globalsOf, timeOption, withHelp } from './common.js'

interface Options {
  readonly lease: number
}

export function registerLead(program: Command, session: Session): void {
  const command = program
    .command('lead')
    .summary('run a command where it may run once in a cluster, and stand by until then')
    .description(
      'Waits until no other process leads the name, and runs the command then. If the leadership can not be kept, the command gets SIGTERM, and SIGKILL before anybody else can lead. It has the name in ' +
        'HERMES_LEAD_NAME and the revision, which grows from leader to leader, in HERMES_LEAD_REVISION. The exit code is that of the command.',
    )
    .argument('<name>', 'what is led: 1 to 128 characters, as of a topic')
    .argument('<command...>', 'behind --: the program to run, with its arguments')
    .addOption(timeOption('--lease <time>', 'how long a leader that is not heard of is waited for', 10_000))
    .action(async (name: string, line: string[], { lease }: Options) => {
      const { dir } = globalsOf(command)
      await withPlace(dir, false, async (hermes) => {
        // What can't be led is refused before anything is said of waiting.
        checkTopicName(name, 'leadership')
        const { capabilitiesOf } = await import('../../client/hermes.js')
        requireAbility(`lead() in ${hermes.place}`, capabilitiesOf(hermes).leases, { name })
        session.note(`Waiting to lead ${name}.`)
        let leadership: Leadership
        // Only of the waiting: the command is stopped before the leadership is given up.
        const waiting = new AbortController()
        const give = () => waiting.abort()
        session.signal.addEventListener('abort', give)
        try {
          leadership = await hermes.lead(name, { signal: waiting.signal, leaseMs: lease })
        } catch (error) {
          if (session.stopping && error instanceof HermesError && error.code === 'ABORTED') return
          throw error
        } finally {
          session.signal.removeEventListener('abort', give)
        }
        session.note(`Leading ${name}, revision ${leadership.revision}.`)
        await follow(session, leadership, line, lease)
      })
    })
  withHelp(
    command,
    `
hermes lead billing --url nats://a,b,c -- node billing.js
hermes lead mirror-orders --url nats://a,b,c -- hermes mirror nats://a,b,c/orders /backup/orders`,
  )
}

/** Runs the command for as long as it leads. */
async function follow(
  session: Session,
  leadership: Leadership,
  line: readonly string[],
  leaseMs: number,
): Promise<void> {
  const [file, ...args] = line as [string, ...string[]]
  const { name, revision, signal } = leadership
  const env = { ...session.streams.env, HERMES_LEAD_NAME: name, HERMES_LEAD_REVISION: String(revision) }
  const child = spawn(file, args, { stdio: 'inherit', env })
  let isLost = false
  let kill: NodeJS.Timeout | undefined
  const stop = () => {
    isLost ||= signal.aborted
    child.kill('SIGTERM')
    // The next one may lead after a third of the lease.
    kill ??= setTimeout(() => child.kill('SIGKILL'), leaseMs / 6)
  }
  for (const one of [signal, session.signal]) {
    one.addEventListener('abort', stop, { once: true })
    if (one.aborted) stop()
  }
  try {
    session.childExit = await exitOf(child, file)
  } finally {
    clearTimeout(kill)
    for (const one of [signal, session.signal]) one.removeEventListener('abort', stop)
    await leadership.release()
  }
  if (isLost) {
    throw new HermesError(
      'LEASE_LOST',
      `The leadership of '${name}' could not be kept, and the command was stopped. Run it again to stand by.`,
      { details: { name, revision } },
    )
  }
}

/** Its exit code, or 128 and the number of the signal that ended it, as shells have it. @throws HermesError `NOT_FOUND`, `ACCESS_DENIED`, `IO_FAILED` */
function exitOf(child: ChildProcess, file: string): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause: NodeJS.ErrnoException) => {
      const code = cause.code === 'ENOENT' ? 'NOT_FOUND' : cause.code === 'EACCES' ? 'ACCESS_DENIED' : 'IO_FAILED'
      reject(new HermesError(code, `Can't run ${file}: ${cause.message}.`, { cause, details: { file } }))
    })
    child.once('exit', (code, signal) => resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])))
  })
}
