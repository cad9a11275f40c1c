import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { HermesError } from '../../base/errors.js'
import type { Answer, Outcome, Task } from './task.js'

const worker = new URL('./worker.js', import.meta.url)

/** A worker that has everything open and waits for the word. */
interface Ready {
  go(): void
  readonly outcome: Promise<Outcome>
}

/**
 * Runs one process for each task and returns the outcomes in their order. They begin together, once all are ready; none
 * outlives this call.
 */
export async function runTogether(tasks: readonly Task[], signal: AbortSignal): Promise<Outcome[]> {
  const children: ChildProcess[] = []
  const kill = () => {
    for (const child of children) child.kill('SIGKILL')
  }
  signal.addEventListener('abort', kill, { once: true })
  try {
    signal.throwIfAborted()
    // One after the other: the first one makes the topic.
    const ready: Ready[] = []
    for (const task of tasks) ready.push(await start(task, children))
    for (const { go } of ready) go()
    return await Promise.all(ready.map(({ outcome }) => outcome))
  } finally {
    signal.removeEventListener('abort', kill)
    kill()
    await Promise.all(
      children.map((child) => (child.exitCode === null && child.signalCode === null ? once(child, 'exit') : undefined)),
    )
  }
}

async function start(task: Task, children: ChildProcess[]): Promise<Ready> {
  const child = fork(worker, [JSON.stringify(task)], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], execArgv: [] })
  children.push(child)
  const outcome = new Promise<Outcome>((resolve, reject) => {
    child.on('message', (content: Answer) => {
      if ('outcome' in content) resolve(content.outcome)
      if ('error' in content) reject(failed(task, content.error))
    })
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(failed(task, `its process ended with ${signal ?? code}`)))
  })
  // A failure before it is awaited must not end this process.
  outcome.catch(() => undefined)
  await Promise.race([once(child, 'message'), outcome])
  return { go: () => child.send('go'), outcome }
}

function failed(task: Task, reason: string): HermesError {
  return new HermesError('IO_FAILED', `The benchmark's '${task.role}' failed: ${reason}`, {
    details: { role: task.role },
  })
}
