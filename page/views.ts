import type { GroupMetrics, PublisherMetrics, SubscriberMetrics, TopicMetrics } from '../lib/model/metrics.js'
import { Chart } from './chart.js'
import { make, tile } from './dom.js'
import type { History } from './history.js'
import { lagOf } from './history.js'
import type { Marks, Report, Shown } from './report.js'
import { type Column, Table } from './table.js'
import { exact, short, time } from './words.js'

/** One page of what is shown. */
export interface View {
  readonly title: string
  readonly element: HTMLElement
  show(report: Report, history: History, all: ReadonlyMap<string, History>): void
  destroy(): void
}

const blue = ['#0b6e99', '#5cc0ea'] as const
const green = ['#1a7f4b', '#5fd39a'] as const
const orange = ['#b35c00', '#f0b84a'] as const
const red = ['#b3261e', '#ff8a80'] as const

function charts() {
  const rate = new Chart(
    'Messages per second',
    [
      { name: 'published', colours: blue },
      { name: 'received', colours: green },
    ],
    (v) => short(v),
  )
  const latency = new Chart(
    'Latency, publish to look',
    [
      { name: 'p50', colours: green },
      { name: 'p99', colours: orange },
      { name: 'p99.9', colours: red },
    ],
    (v) => time(v),
    true,
  )
  const lag = new Chart('Messages behind', [{ name: 'groups and subscribers', colours: orange }], (v) => short(v))
  return {
    element: make('div', { class: 'charts' }, rate.element, latency.element, lag.element),
    show(history: History) {
      rate.set(history.times, [history.line('published'), history.line('received')])
      latency.set(history.times, [history.line('p50'), history.line('p99'), history.line('p999')])
      lag.set(history.times, [history.lags])
    },
    destroy() {
      for (const chart of [rate, latency, lag]) chart.destroy()
    },
  }
}

const linkTo = (topic: string): HTMLElement => make('a', { href: `#/topic/${topic}` }, topic)
const number = <Row>(name: string, of: (row: Row) => number, text: (value: number) => string = short): Column<Row> => ({
  name,
  cell: (row) => text(of(row)),
  by: of,
})

function groupColumns(withTopic: boolean): readonly Column<GroupMetrics>[] {
  return [
    { name: 'group', cell: ({ name }) => name, by: ({ name }) => name },
    ...(withTopic
      ? [{ name: 'topic', cell: ({ topic }: GroupMetrics) => linkTo(topic), by: ({ topic }: GroupMetrics) => topic }]
      : []),
    { name: 'kind', cell: ({ kind }) => kind, by: ({ kind }) => kind },
    { ...number('lag', ({ lag }: GroupMetrics) => lag), kind: ({ lag }) => (lag > 0 ? 'warn' : '') },
    { name: 'age of lag', cell: ({ lagSeconds }) => time(lagSeconds), by: ({ lagSeconds }) => lagSeconds ?? -1 },
    number('in flight', ({ inFlight }) => inFlight),
    {
      ...number('members', ({ members }: GroupMetrics) => members, exact),
      kind: ({ members, lag }) => (members === 0 && lag > 0 ? 'bad' : ''),
    },
    number('redelivered', ({ redelivered }) => redelivered),
    {
      ...number('rejected', ({ rejected }: GroupMetrics) => rejected),
      kind: ({ rejected }) => (rejected > 0 ? 'bad' : ''),
    },
    {
      name: 'state',
      cell: ({ isStalled }) => (isStalled ? 'stalled' : 'moves'),
      by: ({ isStalled }) => Number(isStalled),
      kind: ({ isStalled }) => (isStalled ? 'bad' : 'good'),
    },
  ]
}

function topicState({ isReadable, diskAlarm, syncFailed }: TopicMetrics): string {
  return !isReadable ? 'unreadable' : diskAlarm ? 'disk full' : syncFailed ? 'sync failed' : 'fine'
}

/** All of a place. */
export function overview(): View {
  const tiles = [
    'published / s',
    'received / s',
    'bytes / s',
    'p99 latency',
    'behind',
    'broker',
    'connections',
    'disk free',
  ].map(tile)
  const [published, received, bytes, latency, behind, broker, connections, disk] = tiles
  const drawn = charts()
  let rates: ReadonlyMap<string, History> = new Map()
  const rateOf = ({ name }: TopicMetrics) => rates.get(name)?.last?.published ?? 0
  const topics = new Table<TopicMetrics>(
    'Topics',
    [
      { name: 'topic', cell: ({ name }) => linkTo(name), by: ({ name }) => name },
      number('messages / s', rateOf),
      number('messages', ({ published: { messages } }) => messages),
      number('written', ({ writtenSequence }) => writtenSequence, exact),
      number('not synced', ({ writtenSequence, syncedSequence }) => writtenSequence - syncedSequence),
      number('publishers', ({ publishers }) => publishers, exact),
      number('subscribers', ({ subscribers }) => subscribers, exact),
      number('disk bytes', ({ diskBytes }) => diskBytes),
      {
        name: 'state',
        cell: topicState,
        by: topicState,
        kind: (topic) => (topicState(topic) === 'fine' ? 'good' : 'bad'),
      },
    ],
    { by: 1, none: 'There is no topic yet.', filter: true },
  )
  const groups = new Table<GroupMetrics>('Groups and durable subscriptions', groupColumns(true), {
    by: 3,
    none: 'There is none.',
    filter: true,
  })
  return {
    title: 'Hermes',
    element: make(
      'div',
      {},
      make('h1', {}, 'Overview'),
      make('div', { class: 'tiles' }, ...tiles.map(({ element }) => element)),
      drawn.element,
      topics.element,
      groups.element,
    ),
    show(report, history, all) {
      rates = all
      const last = history.last
      published?.set(short(last?.published))
      received?.set(short(last?.received))
      bytes?.set(short(last?.bytes))
      latency?.set(time(last?.p99))
      const lag = lagOf(report, undefined)
      behind?.set(short(lag), lag > 0 ? 'warn' : '')
      const { isUp, states } = report.broker
      broker?.set(isUp ? 'up' : 'none', isUp ? 'good' : '')
      connections?.set(isUp ? exact(states['connections'] ?? 0) : '–')
      const { freeBytes, totalBytes } = report.disk
      disk?.set(
        totalBytes > 0 ? short(freeBytes).replace(/([kMGT]?)$/, ' $1B') : '–',
        totalBytes > 0 && freeBytes < totalBytes / 20 ? 'bad' : '',
      )
      drawn.show(history)
      topics.set(report.topics)
      groups.set(report.groups)
    },
    destroy: () => drawn.destroy(),
  }
}

/** One topic, with its last messages. */
export function topicView(name: string): View & {
  messages(list: readonly Shown[], problem: string | undefined): void
  /** How messages come; `isLive`: watermarks come the same way. */
  way(text: string, isLive: boolean): void
  marks(of: Marks): void
  readonly isPaused: boolean
} {
  const tiles = ['published / s', 'p99 latency', 'behind', 'first', 'claimed', 'written', 'synced', 'segments'].map(
    tile,
  )
  const [published, latency, behind, first, claimed, written, synced, segments] = tiles
  const drawn = charts()
  const groups = new Table<GroupMetrics>('Groups and durable subscriptions', groupColumns(false), {
    by: 2,
    none: 'There is none.',
  })
  const publishers = new Table<PublisherMetrics>(
    'Publishers',
    [
      { name: 'process', cell: ({ pid }) => String(pid), by: ({ pid }) => pid },
      number('messages', ({ messages }) => messages),
      number('bytes', ({ bytes }) => bytes),
      number('waits for room', ({ waits }) => waits),
      number('failures', ({ failures }) => failures),
    ],
    { none: 'None is open.' },
  )
  const subscribers = new Table<SubscriberMetrics>(
    'Subscribers on this machine',
    [
      { name: 'process', cell: ({ pid }) => String(pid), by: ({ pid }) => pid },
      { ...number('lag', ({ lag }: SubscriberMetrics) => lag), kind: ({ lag }) => (lag > 0 ? 'warn' : '') },
      number('next', ({ nextSequence }) => nextSequence, exact),
      number('messages', ({ messages }) => messages),
    ],
    { none: 'None is open.' },
  )
  let isPaused = false
  let isLive = false
  const pause = make(
    'button',
    {
      type: 'button',
      'aria-pressed': 'false',
      click: () => {
        isPaused = !isPaused
        pause.setAttribute('aria-pressed', String(isPaused))
        pause.textContent = isPaused ? 'go on' : 'pause'
      },
    },
    'pause',
  )
  const rows = make('tbody')
  const note = make('p', { class: 'none' }, 'loading…')
  const way = make('span', { class: 'way', role: 'status' })
  const heads = ['sequence', 'time (UTC)', 'bytes', 'value'].map((head) =>
    make('th', { scope: 'col', class: head === 'value' ? 'left' : '' }, head),
  )
  const last = make(
    'section',
    { class: 'card', 'aria-label': 'Last messages' },
    make('div', { class: 'bar' }, make('h2', {}, 'Last messages'), way, pause),
    make('div', { class: 'scroll' }, make('table', {}, make('thead', {}, make('tr', {}, ...heads)), rows)),
    note,
  )
  return {
    title: `${name} – Hermes`,
    element: make(
      'div',
      {},
      make('h1', {}, make('a', { href: '#/' }, 'Topics'), ' / ', name),
      make('div', { class: 'tiles' }, ...tiles.map(({ element }) => element)),
      drawn.element,
      last,
      groups.element,
      subscribers.element,
      publishers.element,
    ),
    get isPaused() {
      return isPaused
    },
    show(report, _all, histories) {
      const history = histories.get(name)
      const topic = report.topics.find((one) => one.name === name)
      if (topic === undefined || history === undefined) {
        note.textContent = 'There is no such topic here, or it may not be seen.'
        return
      }
      published?.set(short(history.last?.published))
      latency?.set(time(history.last?.p99))
      const lag = lagOf(report, name)
      behind?.set(short(lag), lag > 0 ? 'warn' : '')
      const { firstSequence, claimedSequence, writtenSequence, syncedSequence } = topic
      if (!isLive)
        this.marks({
          first: firstSequence,
          claimed: claimedSequence,
          written: writtenSequence,
          synced: syncedSequence,
        })
      segments?.set(exact(topic.segments))
      drawn.show(history)
      const ofTopic = (one: { readonly topic: string }) => one.topic === name
      groups.set(report.groups.filter(ofTopic))
      publishers.set(report.publishers.filter(ofTopic))
      subscribers.set(report.subscribers.filter(ofTopic))
    },
    marks(of) {
      first?.set(exact(of.first))
      claimed?.set(exact(of.claimed))
      written?.set(exact(of.written))
      synced?.set(exact(of.synced))
    },
    way(text, live) {
      isLive = live
      if (way.textContent !== text) way.textContent = text
    },
    messages(list, problem) {
      note.textContent = problem ?? (list.length === 0 ? 'There is no message.' : '')
      note.hidden = note.textContent === ''
      rows.replaceChildren(
        ...[...list]
          .reverse()
          .map(({ sequence, timeMs, bytes, value, error }) =>
            make(
              'tr',
              {},
              make('td', {}, exact(sequence)),
              make('td', {}, new Date(timeMs).toISOString().slice(11, 23)),
              make('td', {}, exact(bytes)),
              make('td', { class: error === undefined ? 'value' : 'value bad' }, value ?? error ?? ''),
            ),
          ),
      )
    },
    destroy: () => drawn.destroy(),
  }
}
