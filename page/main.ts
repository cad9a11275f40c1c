import { History } from './history.js'
import type { Report, Shown } from './report.js'
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

function route(): void {
  // (What the skip link leads to is no page.)
  if (location.hash === '#main') return
  const topic = topicOf(location.hash)
  view.destroy()
  view = topic === undefined ? overview() : topicView(topic)
  document.title = view.title
  main.replaceChildren(view.element)
  draw()
  if (topic !== undefined) void messages()
}

function draw(): void {
  if (report !== undefined) view.show(report, whole, histories)
}

async function messages(): Promise<void> {
  const topic = topicOf(location.hash)
  const shown = view
  if (topic === undefined || !('messages' in shown) || shown.isPaused) return
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
