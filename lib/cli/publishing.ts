import { HermesError } from '../base/errors.js'
import type { Hermes } from '../client/hermes.js'
import type { Publisher } from '../client/publisher.js'
import type { Status } from '../placement/remote/options.js'
import { isBroker, openPlace } from './place.js'
import type { Session } from './session.js'
import { counted } from './text-format.js'

/** A command that was asked to stop waits so long for acknowledgements that are under way. */
const stopTimeoutMs = 2000

/** A place that is published to. Tells on stderr when its broker is lost and found, and ends in bounded time. */
export class PublishingPlace {
  readonly #session: Session
  /** Whose unacknowledged messages are counted. */
  publisher: Publisher<unknown> | undefined
  #lost = false

  private constructor(session: Session) {
    this.#session = session
  }

  /** Opens the place, runs `work`, and closes everything that was opened in it. A signal to stop shortens every wait. */
  static async with(
    session: Session,
    dir: string,
    work: (hermes: Hermes, place: PublishingPlace) => Promise<void>,
  ): Promise<void> {
    const place = new PublishingPlace(session)
    const { signal } = session
    const options = isBroker(dir) ? { signal, onStatus: (status: Status) => place.#tell(status) } : {}
    let hermes: Hermes | undefined
    try {
      hermes = await openPlace(dir, true, options)
      await work(hermes, place)
    } catch (error) {
      // What went wrong first is what the user needs to know.
      await hermes?.close({ timeoutMs: stopTimeoutMs }).catch(() => undefined)
      // (the exit code tells of the signal)
      if (signal.aborted && error instanceof HermesError && error.code === 'ABORTED') return
      throw error
    }
    await hermes.close()
  }

  /** Closes the publisher: within its own bound, or soon after the command is asked to stop. */
  async finish(publisher: Publisher<unknown>): Promise<void> {
    const { signal } = this.#session
    const shorten = () => void publisher.close({ timeoutMs: stopTimeoutMs }).catch(() => undefined)
    signal.addEventListener('abort', shorten, { once: true })
    try {
      await publisher.close(signal.aborted ? { timeoutMs: stopTimeoutMs } : {})
    } finally {
      signal.removeEventListener('abort', shorten)
    }
  }

  #tell(status: Status): void {
    if (status.type === 'disconnected') {
      this.#lost = true
      const left = this.publisher?.unacknowledged ?? 0
      this.#session.note(`connection lost, retrying; ${counted(left, 'message')} unacknowledged`)
    } else if (status.type === 'connected' && this.#lost) {
      this.#lost = false
      this.#session.note('connected again')
    }
  }
}
