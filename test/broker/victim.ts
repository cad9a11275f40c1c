import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { join } from 'node:path'
import { open, text } from '../../lib/index.js'
import { pause } from './harness.js'

const token = 'victim-victim-victim'
const small = { codec: text, segmentBytes: 1024 * 1024, maxPayloadBytes: 4096 }

/** Round trips of a well-behaved client, in milliseconds. */
export interface RoundTrips {
  readonly count: number
  readonly p99: number
  readonly worst: number
}

async function start(program: string, ...args: string[]): Promise<{ child: ChildProcess; line: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, program), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [data] = await once(child.stdout as NodeJS.ReadableStream, 'data')
  return { child, line: String(data).trim() }
}

function summary(trips: number[]): RoundTrips {
  trips.sort((a, b) => a - b)
  const at = (part: number) => trips[Math.floor((trips.length - 1) * part)] ?? 0
  return { count: trips.length, p99: at(0.99), worst: at(1) }
}

/** A broker with a long topic, many topics and one client that others are to harm. */
export class Victim {
  readonly #broker: ChildProcess
  readonly #url: string
  readonly #echo: ChildProcess
  readonly #echoPort: number

  private constructor(broker: ChildProcess, url: string, echo: ChildProcess, echoPort: number) {
    this.#broker = broker
    this.#url = url
    this.#echo = echo
    this.#echoPort = echoPort
  }

  static async start(dir: string, topics: number, messages: number): Promise<Victim> {
    {
      await using local = await open(dir)
      for (const name of ['own', 'open', 'secret']) await local.topic(name, small).publisher()
      for (let n = 0; n < topics; n++) await local.topic(`many${n}`, { ...small, segmentBytes: 64 * 1024 }).publisher()
      const long = await local
        .topic('long', { codec: text, segmentBytes: 64 * 1024 * 1024, maxPayloadBytes: 4096 })
        .publisher()
      for (let n = 0; n < messages; n++) if (!long.publish(`message ${n} of many`)) await long.ready()
      await long.flush()
    }
    const { child, line } = await start('victim-broker.mjs', dir)
    const echo = await start('echo-process.mjs')
    return new Victim(child, line, echo.child, Number(echo.line))
  }

  /**
   * Publishes and receives 200 messages per second while an attacker floods the broker. `control` are round trips to a process that does
   * nothing else, at the same time: what the machine's other work and the attacker's own take from everybody.
   */
  async under(
    kind: string,
    durationMs: number,
  ): Promise<RoundTrips & { readonly control: RoundTrips; readonly attackBytes: number }> {
    await using hermes = await open(this.#url, { token })
    const publisher = await hermes.topic('own', small).publisher()
    const subscriber = await hermes.topic('own', small).subscriber({ from: 'latest', wait: 'park' })
    const trips: number[] = []
    const control: number[] = []
    const echo = connect({ port: this.#echoPort, host: '127.0.0.1', noDelay: true })
    await once(echo, 'connect')
    let heard = ''
    echo.on('data', (data) => {
      const times = (heard + String(data)).split(' ')
      heard = times.pop() as string
      for (const time of times) control.push(performance.now() - Number(time))
    })
    const { child } = await start('attacker.mjs', new URL(this.#url).port, kind, String(durationMs))
    let sent = 0
    child.stdout?.on('data', (data) => {
      sent = Number(String(data).trim())
    })
    const gone = once(child, 'exit')
    const end = performance.now() + durationMs
    const receiving = (async () => {
      for await (const { value } of subscriber) {
        if (value === 'end') break
        trips.push(performance.now() - Number(value))
      }
    })()
    while (performance.now() < end) {
      publisher.publish(String(performance.now()))
      echo.write(`${performance.now()} `)
      await pause(5)
    }
    publisher.publish('end')
    await receiving
    await gone
    echo.destroy()
    return { ...summary(trips), control: summary(control), attackBytes: sent }
  }

  async close(): Promise<void> {
    this.#echo.kill('SIGKILL')
    const gone = once(this.#broker, 'exit')
    this.#broker.kill('SIGKILL')
    await gone
  }
}
