// Small figures, drawn by hand: no dependency, readable on light and dark pages.

const font = 'font-family="ui-sans-serif, system-ui, sans-serif"'
const ink = '#1f2933'
const faint = '#d5dae0'
const colours = ['#c2410c', '#1d4ed8', '#047857', '#7c3aed', '#b45309', '#0e7490', '#be185d', '#4b5563']

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function text(x: number, y: number, content: string, more = ''): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${font} font-size="13" fill="${ink}" ${more}>${escapeText(content)}</text>`
}

function line(x1: number, y1: number, x2: number, y2: number, colour: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((one) => one.toFixed(1))
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${colour}"/>`
}

function svg(width: number, height: number, title: string, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    text(20, 28, title, 'font-weight="600"'),
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

export interface Bar {
  readonly label: string
  readonly value: number
  readonly shown: string
  /** Drawn in the first colour. */
  readonly ours: boolean
}

/** Horizontal bars on a linear scale from 0, so that lengths compare as the values do. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const [left, width, step] = [230, 760, 30]
  const height = 56 + bars.length * step
  const most = Math.max(...bars.map(({ value }) => value))
  const room = width - left - 110
  const parts = bars.flatMap(({ label, value, shown, ours }, index) => {
    const y = 46 + index * step
    const length = (value / most) * room
    return [
      text(left - 10, y + 15, label, 'text-anchor="end"'),
      `<rect x="${left}" y="${y}" width="${Math.max(length, 1).toFixed(1)}" height="20" rx="2" fill="${colours[ours ? 0 : 7]}"/>`,
      text(left + length + 8, y + 15, shown),
    ]
  })
  return svg(width, height, title, [...parts, line(left, 42, left, height - 8, ink)])
}

export interface Curve {
  readonly label: string
  /** [percentile, ns] */
  readonly points: readonly (readonly [number, number])[]
}

/** Latency by percentile: each step to the right has a tenth of the samples beyond it; latency on a logarithmic scale. */
export function percentilePlot(title: string, curves: readonly Curve[]): string {
  const [left, right, top, bottom] = [70, 560, 48, 370]
  const [width, height] = [760, 420]
  const values = curves.flatMap(({ points }) => points.map(([, ns]) => ns))
  const low = Math.floor(Math.log10(Math.max(1, Math.min(...values))))
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...values))))
  const nines = Math.max(1, ...curves.flatMap(({ points }) => points.map(([percentile]) => depth(percentile))))
  const x = (percentile: number) => left + (depth(percentile) / nines) * (right - left)
  const y = (ns: number) => bottom - ((Math.log10(Math.max(ns, 1)) - low) / (high - low)) * (bottom - top)
  const parts: string[] = []
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power)
    parts.push(line(left, at, right, at, faint), text(left - 8, at + 4, unit(power), 'text-anchor="end"'))
  }
  for (const percentile of [0, 50, 90, 99, 99.9, 99.99, 99.999]) {
    if (depth(percentile) > nines) continue
    const at = x(percentile)
    const label = percentile === 0 ? 'min' : `p${percentile}`
    parts.push(line(at, top, at, bottom, faint), text(at, bottom + 20, label, 'text-anchor="middle"'))
  }
  curves.forEach(({ label, points }, index) => {
    const colour = colours[index % colours.length] as string
    const path = points.map(([percentile, ns]) => `${x(percentile).toFixed(1)},${y(ns).toFixed(1)}`).join(' ')
    const at = top + 12 + index * 22
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<rect x="${right + 20}" y="${at - 10}" width="12" height="12" fill="${colour}"/>`,
      text(right + 38, at + 1, label),
    )
  })
  return svg(width, height, title, parts)
}

/** How many nines: 0 for the minimum, 1 for p90, 2 for p99. */
function depth(percentile: number): number {
  return -Math.log10(Math.max(1 - percentile / 100, 1e-9))
}

function unit(power: number): string {
  const [factor, name] = power < 3 ? [0, 'ns'] : power < 6 ? [3, 'µs'] : power < 9 ? [6, 'ms'] : [9, 's']
  return `${10 ** (power - factor)} ${name}`
}
