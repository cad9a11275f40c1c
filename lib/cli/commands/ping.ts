import type { Command } from 'commander'
import { errorCodes, HermesError } from '../../base/errors.js'
import { invalid } from '../../base/options.js'
import type { Hermes } from '../../client/hermes.js'
import type { BrokerHealth } from '../../model/topic.js'
import { integer } from '../arguments.js'
import { isCluster, isRemote, openPlace } from '../place.js'
import type { Session } from '../session.js'
import { counted, secondsText } from '../text-format.js'
import { globalsOf, timeOption, withHelp } from './common.js'

interface PingOptions {
  readonly count: number
  readonly timeout: number
}

interface Pong {
  readonly url: string
  /** What the broker calls itself. */
  readonly server: string
  /** Connection, TLS, token and version. */
  readonly handshakeMs: number
  readonly roundTripsMs: readonly number[]
  /** Absent if the broker is too old to know. */
  readonly health?: BrokerHealth
}

export function registerPing(program: Command, session: Session): void {
  const command = program
    .command('ping')
    .summary('ask a broker or a cluster whether it answers')
    .description(
      'Connects to the broker or cluster of --url, as any client does, and asks for its topics, which makes it look into its directory, and whether it can publish. ' +
        'Prints how long both took. Any failure makes the exit code something other than 0: for health checks.',
    )
    .option('-n, --count <n>', 'how many questions, one after the other', integer(1, 1_000_000), 1)
    .addOption(timeOption('-t, --timeout <time>', 'how long all of it may take', 5000))
    .action(async (options: PingOptions) => {
      const { dir } = globalsOf(command)
      if (!isRemote(dir))
        throw invalid(
          'ping needs a broker or a cluster: --url tcp://host:port, tls://host:port or nats://host,host,host.',
        )
      const pong = await within(session, options.timeout, dir, () => ping(dir, options))
      if (pong === undefined) return
      if (session.json) session.out.line(JSON.stringify(pong))
      else for (const line of linesOf(pong)) session.out.line(line)
      const { health } = pong
      if (health === undefined || health.canPublish) return
      // (a broker may know codes that this program doesn't)
      const code = errorCodes.find((one) => one === health.code) ?? 'IO_FAILED'
      throw new HermesError(code, `The broker answers, but can't publish: ${health.problems.join(' ')}`, {
        details: { problems: health.problems },
      })
    })
  withHelp(
    command,
    `
hermes ping --url tcp://10.0.0.5:9000
hermes ping --url tls://broker.example:9000 --count 100
hermes ping --url nats://a.example,b.example,c.example
hermes ping --url tcp://127.0.0.1:9000 --timeout 3s > /dev/null || exit 1`,
  )
}

async function ping(place: string, { count, timeout }: PingOptions): Promise<Pong> {
  let server = ''
  const begun = performance.now()
  if (isCluster(place)) server = 'JetStream'
  const hermes = await openPlace(place, false, {
    connectTimeoutMs: timeout,
    ...(isCluster(place)
      ? { requestTimeoutMs: timeout }
      : {
          // One that has to be found again has not answered.
          reconnect: false,
          onStatus: (status) => {
            if (status.type === 'connected') server = status.server
          },
        }),
  })
  const handshakeMs = performance.now() - begun
  const roundTripsMs: number[] = []
  for (let i = 0; i < count; i++) {
    const asked = performance.now()
    await hermes.topics()
    roundTripsMs.push(performance.now() - asked)
  }
  const health = await healthOf(hermes)
  await hermes.close()
  return { url: hermes.place, server, handshakeMs, roundTripsMs, ...(health === undefined ? {} : { health }) }
}

async function healthOf(hermes: Hermes): Promise<BrokerHealth | undefined> {
  try {
    return await hermes.health()
  } catch (error) {
    if (error instanceof HermesError && error.code === 'UNSUPPORTED') return undefined
    throw error
  }
}

/** `undefined` if the command is to stop. */
async function within<T>(session: Session, ms: number, place: string, work: () => Promise<T>): Promise<T | undefined> {
  const signal = session.signalWithin(ms)
  const over = new Promise<undefined>((resolve) => {
    if (signal.aborted) resolve(undefined)
    else signal.addEventListener('abort', () => resolve(undefined), { once: true })
  })
  const result = await Promise.race([work(), over])
  if (result !== undefined || session.stopping) return result
  throw new HermesError('TIMED_OUT', `${place} did not answer within ${secondsText(ms)}.`, {
    details: { place, timeoutMs: ms },
  })
}

function linesOf({ url, server, handshakeMs, roundTripsMs }: Pong): string[] {
  const sorted = roundTripsMs.toSorted((a, b) => a - b)
  const at = (part: number) => (sorted[Math.floor((sorted.length - 1) * part)] as number).toFixed(2)
  const trips =
    sorted.length === 1
      ? `answered in ${at(0)} ms`
      : `${counted(sorted.length, 'answer')}: min ${at(0)}, median ${at(0.5)}, max ${at(1)} ms`
  return [`${url}: ${server}, connected in ${handshakeMs.toFixed(2)} ms, ${trips}`]
}
