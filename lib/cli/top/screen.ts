import type { MetricsReport } from '../../model/metrics.js'
import { visible } from '../session.js'
import { bytesText } from '../text-format.js'
import { latencyText, type Row, type ViewName, viewNames, viewOf } from './views.js'

/** What is on the screen of `hermes top`, and what keys do to it. Draws nothing itself: `lines` says what to draw. */
export class Screen {
  readonly #place: string
  #now: MetricsReport | undefined
  #before: MetricsReport | undefined
  #trouble: string | undefined
  #view: ViewName = 'topics'
  /** Sorted by this column; down if it holds numbers. */
  #sort = 0
  #reversed = false
  #filter = ''
  #typing = false
  #selected = 0
  #topic: string | undefined

  constructor(place: string) {
    this.#place = place
  }

  show(report: MetricsReport): void {
    this.#before = this.#now
    this.#now = report
    this.#trouble = undefined
  }

  fail(message: string): void {
    this.#trouble = message
  }

  /** A key as terminals send it. Returns true to leave. */
  key(key: string): boolean {
    if (key === '\u0003') return true
    if (this.#typing) {
      if (key === '\r' || key === '\u001b') this.#typing = false
      if (key === '\u001b') this.#filter = ''
      if (key === '\u007f' || key === '\b') this.#filter = this.#filter.slice(0, -1)
      if (/^[A-Za-z0-9._-]+$/.test(key) && this.#filter.length < 128) this.#filter += key
      this.#selected = 0
      return false
    }
    switch (key) {
      case 'q':
        return true
      case '1':
      case '2':
      case '3':
      case '4':
        this.#go(viewNames[Number(key) - 1] as ViewName)
        break
      case '\t':
        this.#go(viewNames[(viewNames.indexOf(this.#view) + 1) % viewNames.length] as ViewName)
        break
      case '/':
        this.#typing = true
        this.#filter = ''
        break
      case 's':
      case '\u001b[C':
        this.#sort++
        break
      case '\u001b[D':
        this.#sort = Math.max(0, this.#sort - 1)
        break
      case 'r':
        this.#reversed = !this.#reversed
        break
      case 'j':
      case '\u001b[B':
        this.#selected++
        break
      case 'k':
      case '\u001b[A':
        this.#selected = Math.max(0, this.#selected - 1)
        break
      case '\r':
        this.#topic ??= this.#rows()[this.#selected]?.topic
        break
      case '\u001b':
      case '\u007f':
        if (this.#topic !== undefined) this.#topic = undefined
        else this.#filter = ''
        break
    }
    return false
  }

  /** As many lines as fit, none longer than `width`. */
  lines(width: number, height: number): string[] {
    const report = this.#now
    const lines = [this.#head(report)]
    if (report !== undefined) {
      if (this.#topic !== undefined) lines.push('', ...this.#details(report, this.#topic))
      else lines.push(this.#tabs(), '', ...this.#table(Math.max(1, height - 5)))
    }
    const help = this.#typing
      ? `filter: ${this.#filter}_   Enter: keep   Esc: none`
      : this.#topic !== undefined
        ? 'Esc: back   q: quit'
        : '1-4, Tab: table   s, arrows: sort   r: reverse   /: filter   Enter: one topic   q: quit'
    while (lines.length < height - 1) lines.push('')
    return [...lines.slice(0, height - 1), help].map((line) => visible(line).slice(0, width))
  }

  #go(view: ViewName): void {
    this.#view = view
    this.#sort = 0
    this.#reversed = false
    this.#selected = 0
    this.#topic = undefined
  }

  #head(report: MetricsReport | undefined): string {
    if (this.#trouble !== undefined) return `hermes top  ${this.#place}  ${this.#trouble}`
    if (report === undefined) return `hermes top  ${this.#place}  …`
    const { broker, disk } = report
    const served = broker.isUp ? `broker up, ${broker.states['connections'] ?? 0} connections` : 'no broker'
    return `hermes top  ${this.#place}  ${new Date(report.takenMs).toISOString().slice(11, 19)}  ${served}  disk ${bytesText(disk.freeBytes)} free`
  }

  #tabs(): string {
    const tabs = viewNames.map((name, i) => (name === this.#view ? `[${i + 1} ${name}]` : ` ${i + 1} ${name} `))
    return `${tabs.join(' ')}${this.#filter === '' ? '' : `   filter: ${this.#filter}`}`
  }

  #rows(): readonly Row[] {
    if (this.#now === undefined) return []
    const { columns, rows } = viewOf(this.#view, this.#now, this.#before)
    this.#sort %= columns.length
    return sorted(
      rows.filter(({ key }) => key.includes(this.#filter)),
      this.#sort,
      this.#reversed,
    )
  }

  #table(height: number): string[] {
    const rows = this.#rows()
    this.#selected = Math.max(0, Math.min(this.#selected, rows.length - 1))
    const { columns } = viewOf(this.#view, this.#now as MetricsReport, this.#before)
    const from = Math.max(0, Math.min(this.#selected - Math.floor(height / 2), rows.length - height + 1))
    const shown = rows.slice(from, from + height - 1)
    const titles = columns.map((title, i) => (i === this.#sort ? `${title}${this.#reversed ? '^' : 'v'}` : title))
    return aligned(titles, shown).map((line, i) => `${i > 0 && from + i - 1 === this.#selected ? '> ' : '  '}${line}`)
  }

  #details(report: MetricsReport, name: string): string[] {
    const topic = report.topics.find((one) => one.name === name)
    if (topic === undefined) return [`There is no topic ${name} any more.`]
    const { latency } = topic.received
    const of = (view: ViewName): string[] => {
      const { columns, rows } = viewOf(view, report, this.#before)
      const own = rows.filter((row) => row.topic === name)
      return own.length === 0 ? [] : ['', `${view}:`, ...aligned([...columns], own).map((line) => `  ${line}`)]
    }
    return [
      `topic ${name}`,
      `  sequences  first ${topic.firstSequence}  synced ${topic.syncedSequence}  written ${topic.writtenSequence}  claimed ${topic.claimedSequence}`,
      `  files      ${topic.segments} segments, ${bytesText(topic.usedBytes)} used of ${bytesText(topic.diskBytes)}, ${topic.quarantined} stretches set aside`,
      `  published  ${topic.published.messages} messages, ${bytesText(topic.published.bytes)}, ${topic.published.waits} waits, ${topic.published.failures} failures`,
      `  received   ${topic.received.messages} messages, ${topic.received.voids} sequences without one`,
      `  latency    p50 ${latencyText(latency.p50 ?? 0)}  p99 ${latencyText(latency.p99 ?? 0)}  p99.9 ${latencyText(latency.p999 ?? 0)}  (${latency.count} samples)`,
      ...of('publishers'),
      ...of('subscribers'),
      ...of('groups'),
    ]
  }
}

/** Numbers from the largest down, names from A up. */
export function sorted(rows: readonly Row[], column: number, reversed: boolean): readonly Row[] {
  const order = (a: Row, b: Row): number => {
    const [left, right] = [a.values[column], b.values[column]]
    if (typeof left === 'number' && typeof right === 'number')
      return (Number.isNaN(right) ? -1 : right) - (Number.isNaN(left) ? -1 : left)
    return String(left) < String(right) ? -1 : String(left) > String(right) ? 1 : 0
  }
  return [...rows].sort((a, b) => (reversed ? order(b, a) : order(a, b)))
}

/** Columns side by side: names to the left, numbers to the right. */
export function aligned(titles: readonly string[], rows: readonly Row[]): string[] {
  const widths = titles.map((title, i) => Math.max(title.length, ...rows.map((row) => row.cells[i]?.length ?? 0)))
  const isNumber = titles.map((_, i) => rows.length > 0 && rows.every((row) => typeof row.values[i] === 'number'))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
  return [line(titles), ...rows.map((row) => line(row.cells))]
}
