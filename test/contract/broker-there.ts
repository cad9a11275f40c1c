import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { programsFolder } from '../helpers/program.js'
import type { StartBroker } from './broker-here.js'

/** What brokers.mjs answers a call with. */
interface Answer {
  readonly call: number
  readonly url?: string
  readonly failure?: string
}

/** Brokers in another process, one for all tests of a file. `env` is what differs in its environment. */
export function brokersThere(env: Readonly<Record<string, string>>): StartBroker {
  let child: ChildProcess
  let calls = 0
  beforeAll(() => {
    child = fork(join(programsFolder, 'brokers.mjs'), { env: { ...process.env, ...env }, execArgv: [] })
  })
  afterAll(async () => {
    child.disconnect()
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  })
  const ask = async (request: object): Promise<Answer> => {
    const call = ++calls
    const answer = new Promise<Answer>((resolve, reject) => {
      const heard = (message: Answer) => {
        if (message.call !== call) return
        child.off('message', heard)
        child.off('exit', gone)
        resolve(message)
      }
      const gone = (code: number | null) => reject(new Error(`the brokers' process has ended with ${code}`))
      child.on('message', heard)
      child.once('exit', gone)
    })
    child.send({ ...request, call })
    const { failure, ...rest } = await answer
    if (failure !== undefined) throw new Error(failure)
    return rest
  }
  return async () => {
    const { url = '' } = await ask({ op: 'serve' })
    return { url, close: async () => void (await ask({ op: 'close', url })) }
  }
}
