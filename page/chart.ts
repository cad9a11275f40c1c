import uPlot from 'uplot'
import { make } from './dom.js'

export interface Line {
  readonly name: string
  /** For light pages and for dark ones. */
  readonly colours: readonly [string, string]
}

const isDark = matchMedia('(prefers-color-scheme: dark)')
const height = 190

/** Lines over time, with their present values beside them as text. */
export class Chart {
  readonly element: HTMLElement
  readonly #lines: readonly Line[]
  readonly #text: (value: number | null) => string
  readonly #isLogarithmic: boolean
  readonly #plotted = make('div', { class: 'plot', 'aria-hidden': 'true' })
  readonly #keys: readonly HTMLElement[]
  #plot: uPlot | undefined
  #data: uPlot.AlignedData = [[]]
  readonly #observer = new ResizeObserver(() => this.#fit())
  readonly #again = () => this.#draw()

  constructor(title: string, lines: readonly Line[], text: (value: number | null) => string, isLogarithmic = false) {
    this.#lines = lines
    this.#text = text
    this.#isLogarithmic = isLogarithmic
    this.#keys = lines.map(() => make('span'))
    this.element = make(
      'section',
      { class: 'card', 'aria-label': title },
      make('h2', {}, title),
      make('div', { class: 'keys' }, ...this.#keys),
      this.#plotted,
    )
    this.#observer.observe(this.#plotted)
    isDark.addEventListener('change', this.#again)
  }

  /** @param times seconds since 1970 */
  set(times: readonly number[], lines: readonly (readonly (number | null)[])[]): void {
    // (A logarithm has no place for 0.)
    const shown = lines.map((line) => line.map((value) => (this.#isLogarithmic && value === 0 ? null : value)))
    this.#data = [times as number[], ...(shown as number[][])]
    if (this.#plot === undefined) this.#draw()
    else this.#plot.setData(this.#data)
    for (const [index, key] of this.#keys.entries()) {
      const mark = make('i')
      mark.style.background = this.#colour(index)
      key.replaceChildren(mark, `${this.#lines[index]?.name} ${this.#text(lines[index]?.at(-1) ?? null)}`)
    }
  }

  destroy(): void {
    this.#observer.disconnect()
    isDark.removeEventListener('change', this.#again)
    this.#plot?.destroy()
  }

  #colour(index: number): string {
    return this.#lines[index]?.colours[isDark.matches ? 1 : 0] ?? 'gray'
  }

  #draw(): void {
    this.#plot?.destroy()
    const style = getComputedStyle(document.documentElement)
    const [soft, line] = [style.getPropertyValue('--soft'), style.getPropertyValue('--line')]
    // (Of a logarithm, only whole powers of ten.)
    const filter = (_: uPlot, splits: number[]) =>
      splits.map((split) =>
        !this.#isLogarithmic || Number.isInteger(Math.round(Math.log10(split) * 1e6) / 1e6) ? split : null,
      )
    const axis = {
      stroke: soft,
      grid: { stroke: line, width: 1 },
      ticks: { stroke: line, width: 1 },
      font: '12px system-ui',
    }
    const values = (_: uPlot, splits: number[]) =>
      splits.map((split) => (split === null ? '' : this.#text(split).replace(/\.0+(?=\D|$)/, '')))
    const clock = (_: uPlot, splits: number[]) =>
      splits.map((split) => new Date(split * 1000).toTimeString().slice(0, 8))
    const y = this.#isLogarithmic
      ? { distr: 3 as const }
      : { range: (_: uPlot, __: number, most: number): uPlot.Range.MinMax => [0, most > 0 ? most * 1.1 : 1] }
    this.#plot = new uPlot(
      {
        width: Math.max(240, this.#plotted.clientWidth),
        height,
        legend: { show: false },
        cursor: { show: false },
        scales: { x: { time: true }, y },
        axes: [
          { ...axis, space: 80, size: 34, values: clock },
          { ...axis, grid: { ...axis.grid, filter }, ticks: { ...axis.ticks, filter }, filter, size: 64, values },
        ],
        series: [
          {},
          ...this.#lines.map((_, index) => ({
            stroke: this.#colour(index),
            width: 2,
            spanGaps: true,
            points: { show: false },
          })),
        ],
      },
      this.#data,
      this.#plotted,
    )
  }

  #fit(): void {
    this.#plot?.setSize({ width: Math.max(240, this.#plotted.clientWidth), height })
  }
}
