import { HermesError } from '../base/errors.js'
import type { BrokerHealth, TopicInfo } from '../model/topic.js'
import type { AdminPort } from '../placement/admin-port.js'
import { parseTopic, text } from '../wire/messages.js'
import type { Rights } from './access.js'
import { administer, isAdministration } from './administration-requests.js'

/** Of one connection, under way or waiting. */
const mostRequests = 64

/** What requests are answered from. */
export interface RequestHost {
  topics(): Promise<readonly string[]>
  info(name: string): Promise<TopicInfo>
  check(): Promise<void>
  health(): Promise<BrokerHealth>
  readonly administration: AdminPort
}

/** Answers one connection's requests, one after the other. */
export class Requests {
  readonly #host: RequestHost
  #waiting = 0
  #last: Promise<unknown> = Promise.resolve()

  constructor(host: RequestHost) {
    this.#host = host
  }

  /**
   * @returns what makes the answer; that may take a moment, and is to be done in a turn of the client's
   * @throws HermesError `LIMIT`, `UNSUPPORTED`, `UNAUTHORIZED`, `NOT_FOUND`, …
   */
  answer(fields: Readonly<Record<string, unknown>>, rights: Rights): Promise<() => unknown> {
    if (this.#waiting >= mostRequests) {
      const message = `This connection has ${mostRequests} requests under way, as many as it may have.`
      return Promise.reject(new HermesError('LIMIT', message))
    }
    this.#waiting++
    const answer = this.#last.then(() => this.#answer(fields, rights)).finally(() => this.#waiting--)
    this.#last = answer.catch(() => {})
    return answer
  }

  async #answer(fields: Readonly<Record<string, unknown>>, rights: Rights): Promise<() => unknown> {
    const op = text(fields, 'op', 50)
    const mayUse = (topic: string) => rights.mayPublish(topic) || rights.maySubscribe(topic)
    switch (op) {
      case 'topics': {
        await this.#host.check()
        const topics = await this.#host.topics()
        return () => ({ topics: topics.filter(mayUse) })
      }
      case 'info': {
        const topic = parseTopic(fields)
        if (!mayUse(topic)) {
          throw new HermesError('UNAUTHORIZED', `'${rights.name}' may not use '${topic}'.`, { details: { topic } })
        }
        const info = await this.#host.info(topic)
        return () => ({ info })
      }
      case 'health': {
        await this.#host.check()
        const health = forWhom(await this.#host.health(), rights)
        return () => ({ health })
      }
      default:
        if (isAdministration(op)) return administer(this.#host.administration, op, fields, rights)
        throw new HermesError('UNSUPPORTED', `This broker knows no request '${op}'.`)
    }
  }
}

/** The reasons name topics, and say how the machine is: they are for those who look after it. */
function forWhom(report: BrokerHealth, rights: Rights): BrokerHealth {
  if (report.canPublish || rights.administer) return report
  const problem =
    "Publishers are refused, or topics fail. The broker's log says why, and so does `ping` with a token that may administer."
  return { ...report, problems: [problem] }
}
