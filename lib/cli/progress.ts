import type { Session } from './session.js'
import { grouped } from './text-format.js'

const barWidth = 24
const drawEveryMs = 100
const eraseLine = '\r\u001b[K'

/** One line on stderr that says how far things are. Only on a terminal, and not with --quiet. */
export class Progress {
  readonly #stderr: NodeJS.WriteStream
  readonly #active: boolean
  readonly #total: number | undefined
  readonly #begun = performance.now()
  #drawn = 0
  #visible = false

  /** @param total the amount of work, in the unit of `update`; `undefined` if it is unknown */
  constructor(session: Session, total: number | undefined) {
    this.#stderr = session.streams.stderr
    this.#active = this.#stderr.isTTY === true && !session.quiet && !session.json
    this.#total = total
  }

  /** Cheap to call often: draws ten times per second at most. */
  update(done: number, messages: number): void {
    const ms = performance.now() - this.#begun
    this.show(done, `${grouped(messages)} messages, ${grouped((messages * 1000) / Math.max(1, ms))}/s`)
  }

  /** As `update`, with words of one's own. */
  show(done: number, text: string): void {
    if (!this.#active) return
    const now = performance.now()
    if (now - this.#drawn < drawEveryMs) return
    this.#drawn = now
    const line = this.#total === undefined ? text : `${bar(done / Math.max(1, this.#total))}  ${text}`
    this.#stderr.write(`${eraseLine}${line.slice(0, Math.max(20, (this.#stderr.columns || 80) - 1))}`)
    this.#visible = true
  }

  /** Takes the line away. */
  clear(): void {
    if (this.#visible) this.#stderr.write(eraseLine)
    this.#visible = false
  }
}

function bar(part: number): string {
  const whole = Math.min(1, part)
  const filled = Math.round(whole * barWidth)
  return `[${'#'.repeat(filled)}${'-'.repeat(barWidth - filled)}] ${Math.floor(whole * 100)
    .toString()
    .padStart(3)} %`
}
