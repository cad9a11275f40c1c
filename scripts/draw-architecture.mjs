// Draws docs/figures/architecture.svg, the picture in the README: who touches a topic, and how. A test compares the file with this.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { root } from './lib/run.mjs'

const font = 'font-family="ui-sans-serif, system-ui, sans-serif"'
const [ink, faint, ours, remote] = ['#1f2933', '#d5dae0', '#0b6e99', '#4b5563']

const text = (x, y, content, { size = 13, anchor = 'middle', weight = 400, fill = ink } = {}) =>
  `<text x="${x}" y="${y}" ${font} font-size="${size}" font-weight="${weight}" text-anchor="${anchor}" fill="${fill}">${content}</text>`

/** A box with a title, and lines below it. */
function box(x, y, width, height, title, lines = [], { stroke = ink, fill = '#ffffff' } = {}) {
  const first = y + (height - lines.length * 16) / 2 + 4
  return [
    `<rect x="${x}" y="${y}" width="${width}" height="${height}" rx="6" fill="${fill}" stroke="${stroke}" stroke-width="1.4"/>`,
    text(x + width / 2, first, title, { weight: 600 }),
    ...lines.map((line, index) => text(x + width / 2, first + 17 * (index + 1), line, { size: 12, fill: remote })),
  ]
}

/** An arrow along `points`, with a label at `[x, y]`. */
function arrow(points, { label, at, both = false, colour = ours, anchor = 'middle' } = {}) {
  const [start, end] = [
    both ? ` marker-start="url(#${colour.slice(1)})"` : '',
    ` marker-end="url(#${colour.slice(1)})"`,
  ]
  const line = `<polyline points="${points.map((point) => point.join(',')).join(' ')}" fill="none" stroke="${colour}" stroke-width="1.8"${start}${end}/>`
  return label === undefined ? [line] : [line, text(...at, label, { size: 12, fill: colour, anchor })]
}

const marker = (colour) =>
  `<marker id="${colour.slice(1)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path d="M0 0L8 4L0 8z" fill="${colour}"/></marker>`

/** Segments of a topic: full ones, the one that is written, and the prepared one. */
function log(x, y) {
  const names = ['segment 1', 'segment 2', 'segment 3', 'prepared']
  return names.flatMap((name, index) => {
    const left = x + index * 84
    const fill = ['#cfe6f0', '#cfe6f0', 'url(#half)', '#ffffff'][index]
    const dash = index === 3 ? ' stroke-dasharray="4 3"' : ''
    return [
      `<rect x="${left}" y="${y}" width="80" height="40" fill="${fill}" stroke="${ours}"${dash}/>`,
      text(left + 40, y + 25, name, { size: 12 }),
    ]
  })
}

export function architectureFigure() {
  const title = 'Local processes read and write a topic in mapped memory; a broker serves others'
  const parts = [
    ...box(20, 30, 170, 56, 'publisher', ['a process']),
    ...box(20, 106, 170, 56, 'publisher', ['a worker thread']),
    `<rect x="262" y="24" width="376" height="146" rx="8" fill="#f4f7f9" stroke="${ours}" stroke-width="1.4"/>`,
    text(450, 48, 'topic: an append-only log in mapped files', { weight: 600 }),
    ...log(284, 64),
    text(450, 128, 'typed frames, each with a sequence, a time and a CRC-32', { size: 12, fill: remote }),
    text(450, 150, 'groups, positions and metrics: mapped files beside it', { size: 12, fill: remote }),
    ...box(710, 30, 170, 56, 'subscriber', ['has its own position']),
    ...box(710, 106, 170, 56, 'group', ['shares the work']),
    ...arrow(
      [
        [190, 58],
        [258, 84],
      ],
      { label: 'append', at: [226, 54] },
    ),
    ...arrow([
      [190, 134],
      [258, 108],
    ]),
    ...arrow(
      [
        [642, 84],
        [706, 58],
      ],
      { label: 'read', at: [672, 54] },
    ),
    ...arrow([
      [642, 108],
      [706, 134],
    ]),
    ...box(340, 226, 220, 56, 'hermes serve', ['one more reader and writer']),
    ...arrow(
      [
        [450, 174],
        [450, 222],
      ],
      { both: true },
    ),
    ...box(20, 226, 170, 56, 'dashboard', ['Prometheus, health']),
    ...arrow(
      [
        [340, 254],
        [194, 254],
      ],
      { colour: remote, both: true, label: 'HTTP', at: [266, 246] },
    ),
    ...box(710, 226, 170, 56, 'remote clients', ['Node, Python, browsers']),
    ...arrow(
      [
        [560, 254],
        [706, 254],
      ],
      { colour: remote, both: true, label: 'TCP, TLS, WebSocket', at: [634, 246] },
    ),
    `<line x1="20" y1="198" x2="440" y2="198" stroke="${faint}" stroke-dasharray="3 4"/><line x1="460" y1="198" x2="880" y2="198" stroke="${faint}" stroke-dasharray="3 4"/>`,
    text(20, 192, 'one machine, no system call per message', { size: 12, anchor: 'start', fill: ours }),
    text(20, 214, 'over the network', { size: 12, anchor: 'start', fill: remote }),
  ]
  const half = `<linearGradient id="half"><stop offset="0.55" stop-color="#cfe6f0"/><stop offset="0.55" stop-color="#ffffff"/></linearGradient>`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 306" role="img" aria-label="${title}">`,
    `<defs>${marker(ours)}${marker(remote)}${half}</defs>`,
    '<rect width="900" height="306" fill="#ffffff"/>',
    ...parts,
    '</svg>',
    '',
  ].join('\n')
}

if (import.meta.url === pathToFileURL(process.argv[1]).href)
  writeFileSync(join(root, 'docs', 'figures', 'architecture.svg'), architectureFigure())
