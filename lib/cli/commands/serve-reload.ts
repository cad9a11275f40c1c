import { isDeepStrictEqual } from 'node:util'
import { HermesError } from '../../base/errors.js'
import type { BrokerLog, BrokerOptions } from '../../broker/options.js'
import type { ReloadOptions } from '../../broker/reload.js'

/** What takes other access entries and keys while it runs. */
interface Reloadable {
  reload(options: ReloadOptions): void
}

/** What SIGHUP does to `hermes serve`: reads its configuration again, and passes on what can change while it runs. */
export class Reload {
  readonly #read: () => Promise<BrokerOptions>
  readonly #running: BrokerOptions
  readonly #targets: readonly Reloadable[]
  readonly #log: BrokerLog
  /** One after the other, in the order of the signals. */
  #last: Promise<void> = Promise.resolve()

  /** @param targets the broker first: what it refuses, the others are not given */
  constructor(
    read: () => Promise<BrokerOptions>,
    running: BrokerOptions,
    targets: readonly Reloadable[],
    log: BrokerLog,
  ) {
    this.#read = read
    this.#running = running
    this.#targets = targets
    this.#log = log
  }

  /** A mistake in the configuration is told in the log, and what was so stays so. */
  begin(): void {
    this.#last = this.#last.then(() => this.#reload())
  }

  async #reload(): Promise<void> {
    try {
      const { access = [], tls, ...others } = await this.#read()
      if (tls === undefined && this.#running.tls !== undefined)
        throw new HermesError('UNSUPPORTED', 'TLS can only be ended by a restart of the broker.')
      for (const target of this.#targets) target.reload(tls === undefined ? { access } : { access, tls })
      const changed = Object.keys({ ...this.#running, ...others }).filter(
        (name) =>
          name !== 'access' &&
          name !== 'tls' &&
          !isDeepStrictEqual(this.#running[name as keyof BrokerOptions], others[name as keyof typeof others]),
      )
      if (changed.length > 0)
        this.#log({
          level: 'warn',
          event: 'reload-needs-restart',
          settings: changed,
          message: 'These settings change with a restart.',
        })
    } catch (error) {
      const { code, message } = error as HermesError
      this.#log({ level: 'error', event: 'reload-failed', code, message })
    }
  }
}
