import { Door } from './door.js'
import { History } from './history.js'
import type { Marks, Report, Shown } from './report.js'
import { overview, topicView, type View } from './views.js'

/** Between two looks, in ms; longer where a look takes long. */
const everyMs = 1000
const restPerLook = 4

const main = document.querySelector('main') as HTMLElement
const place = document.querySelector('#place') as HTMLElement
const state = document.querySelector('#state') as HTMLElement

const whole = new History(undefined)
const histories = new Map<string, History>()
let report: Report | undefined
let view: View | ReturnType<typeof topicView> = overview()

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(path, { signal: AbortSignal.timeout(10_000) })
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`.trim())
  return (await response.json()) as T
}

function topicOf(hash: string): string | undefined {
  return /^#\/topic\/([A-Za-z0-9._-]{1,128})$/.exec(hash)?.[1]
}

/** The broker's door for WebSockets; `undefined`: there is none for this page. */
let door: Promise<Door | undefined> | undefined
let following: AbortController | undefined

/** Messages come by the door if there is one; else, and when it fails, they are asked for once a second. Which it is stands on the page. */
async function follow(topic: string): Promise<void> {
  const shown = view
  const stop = new AbortController()
  following = stop
  if (!('messages' in shown)) return
  door ??= ask<{ url?: string }>('/api/door').then(({ url }) => (url === undefined ? undefined : new Door(url)))
  let why = 'no door for WebSockets is open to it'
  try {
    const found = await door
    if (found !== undefined) {
      const watcher = {
        messages: (list: readonly Shown[]) => {
          shown.way('live, by WebSocket', true)
          if (!shown.isPaused) shown.messages(list, undefined)
        },
        marks: (of: Marks) => shown.marks(of),
      }
      await found.follow(topic, watcher, stop.signal)
    }
  } catch (error) {
    why = error instanceof Error ? error.message : String(error)
    door = undefined
  }
  if (stop.signal.aborted) return
  following = undefined
  shown.way(`asked for each second: ${why}`, false)
  await messages()
}

function route(): void {
  // (What the skip link leads to is no page.)
  if (location.hash === '#main') return
  const topic = topicOf(location.hash)
  following?.abort()
  following = undefined
  view.destroy()
  view = topic === undefined ? overview() : topicView(topic)
  document.title = view.title
  main.replaceChildren(view.element)
  draw()
  if (topic !== undefined) void follow(topic)
}

function draw(): void {
  if (report !== undefined) view.show(report, whole, histories)
}

async function messages(): Promise<void> {
  const topic = topicOf(location.hash)
  const shown = view
  if (topic === undefined || !('messages' in shown) || shown.isPaused || following !== undefined) return
  try {
    shown.messages(await ask<readonly Shown[]>(`/api/topics/${topic}/messages?last=20`), undefined)
  } catch (error) {
    shown.messages([], error instanceof Error ? error.message : String(error))
  }
}

async function look(): Promise<void> {
  report = await ask<Report>('/api/metrics')
  whole.add(report)
  for (const { name } of report.topics) {
    let history = histories.get(name)
    if (history === undefined) {
      history = new History(name)
      histories.set(name, history)
    }
    history.add(report)
  }
  place.textContent = report.place
  draw()
  await messages()
}

async function live(): Promise<never> {
  for (;;) {
    const began = performance.now()
    try {
      // A page that is not seen asks for nothing.
      if (!document.hidden) await look()
      state.textContent = `live, ${new Date().toLocaleTimeString('en', { hour12: false })}`
      state.className = ''
    } catch (error) {
      state.textContent = `no answer: ${error instanceof Error ? error.message : String(error)}`
      state.className = 'lost'
    }
    const took = performance.now() - began
    await new Promise((resolve) => setTimeout(resolve, Math.max(everyMs - took, restPerLook * took)))
  }
}

addEventListener('hashchange', route)
route()
void live()
