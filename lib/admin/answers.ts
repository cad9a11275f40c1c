import type { IncomingMessage } from 'node:http'
import { HermesError } from '../base/errors.js'
import { credentialsOf, type Rights } from '../broker/access.js'
import { noLatency, noPublished, noReceived } from '../metrics/nothing.js'
import { contentTypes, metricsBytes } from '../metrics/text.js'
import type { MetricsReport } from '../model/metrics.js'
import type { Answer } from './answer.js'
import { type Messages, mostShown } from './messages.js'
import type { AdminSettings } from './options.js'
import { doorOf, pagePart } from './page.js'
import type { Snapshots } from './snapshots.js'

const text = 'text/plain; charset=utf-8'
const mostTargetBytes = 1024

/** What a request is answered. Everything here only reads. */
export async function answer(
  settings: AdminSettings,
  snapshots: Snapshots,
  messages: Messages,
  request: IncomingMessage,
  certificate: string | undefined,
): Promise<Answer> {
  const { method = '', url = '', headers } = request
  if (method !== 'GET' && method !== 'HEAD')
    return {
      status: 405,
      type: text,
      body: 'Only GET and HEAD.\n',
      headers: { Allow: 'GET, HEAD', Connection: 'close' },
    }
  // An unread body would be parsed as the beginning of the next request.
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) !== 0)
    return { status: 413, type: text, body: 'No body is taken.\n', headers: { Connection: 'close' } }
  if (url.length > mostTargetBytes || !url.startsWith('/')) return notFound
  const path = url.split('?', 1)[0] as string
  // These two say nothing of what is in the place: who looks after processes asks without a token.
  if (path === '/healthz') return { status: 200, type: text, body: 'ok\n' }
  if (path === '/readyz') return ready(settings, snapshots)
  let rights: Rights
  try {
    rights = settings.access.identify(credentialsOf(tokenOf(headers.authorization), certificate))
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'UNAUTHORIZED') throw error
    return {
      status: 401,
      type: text,
      body: 'A token is needed.\n',
      // Two headers: Chromium takes one for one challenge, and would not ask for a password.
      headers: { 'WWW-Authenticate': ['Basic realm="hermes"', 'Bearer realm="hermes"'] },
    }
  }
  // A page knows no token: with authentication, the browser gives it to this server only.
  const door = settings.access.isOpen ? doorOf(settings.webSocketUrl, headers.host) : undefined
  const part = pagePart(path, door)
  if (part !== undefined) return part
  if (path === '/api/door') return toJson(door === undefined ? {} : { url: door })
  if (path === '/metrics') {
    const format = /\bapplication\/openmetrics-text\b/.test(headers.accept ?? '') ? 'openmetrics' : 'prometheus'
    const report = visible(await snapshots.take(), rights)
    return { status: 200, type: contentTypes[format], body: metricsBytes(report, format), headers: { Vary: 'Accept' } }
  }
  if (path === '/api/metrics') return toJson(visible(await snapshots.take(), rights))
  if (path === '/api/topics') return toJson(visible(await snapshots.take(), rights).topics)
  if (path === '/api/groups') return toJson(visible(await snapshots.take(), rights).groups)
  const [, read] = /^\/api\/topics\/([A-Za-z0-9._-]{1,128})\/messages$/.exec(path) ?? []
  if (read !== undefined) return lastMessages(messages, read, url, rights)
  const [, name] = /^\/api\/topics\/([A-Za-z0-9._-]{1,128})$/.exec(path) ?? []
  if (name !== undefined) {
    const { topics, groups, publishers, subscribers } = visible(await snapshots.take(), rights)
    const topic = topics.find((one) => one.name === name)
    if (topic === undefined) return notFound
    const ofTopic = (one: { readonly topic: string }) => one.topic === name
    return toJson({
      ...topic,
      groups: groups.filter(ofTopic),
      openPublishers: publishers.filter(ofTopic),
      openSubscribers: subscribers.filter(ofTopic),
    })
  }
  return notFound
}

const notFound: Answer = {
  status: 404,
  type: text,
  body: 'There is /, /metrics, /healthz, /readyz, /api/metrics, /api/door, /api/topics, /api/topics/<name>, /api/topics/<name>/messages and /api/groups.\n',
}

/** `?last=20`: for those that may subscribe to the topic. */
async function lastMessages(messages: Messages, topic: string, url: string, rights: Rights): Promise<Answer> {
  if (!rights.administer && !rights.maySubscribe(topic))
    return { status: 403, type: text, body: 'This token may not subscribe to the topic.\n' }
  const [, digits = '20'] = /^[^?]*(?:\?last=(\d{1,3}))?$/.exec(url) ?? [undefined, '']
  const most = Number(digits)
  if (digits === '' || most < 1 || most > mostShown)
    return { status: 400, type: text, body: `Give last=1 to last=${mostShown}, and nothing else.\n` }
  try {
    return toJson(await messages.last(topic, most))
  } catch (error) {
    if (!(error instanceof HermesError)) throw error
    const status = error.code === 'NOT_FOUND' ? 404 : 503
    return { status, type: text, body: `${error.code}\n` }
  }
}

function toJson(value: unknown): Answer {
  return { status: 200, type: 'application/json; charset=utf-8', body: `${JSON.stringify(value)}\n` }
}

/** `Bearer token`, or `Basic` with the token as the password, as some that ask know no other way. */
function tokenOf(authorization: string | undefined): string | undefined {
  const [, scheme = '', value = ''] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization ?? '') ?? []
  if (scheme === '') return undefined
  if (scheme.toLowerCase() === 'bearer') return value
  const pair = Buffer.from(value, 'base64').toString('utf8')
  const colon = pair.indexOf(':')
  return colon < 0 ? undefined : pair.slice(colon + 1)
}

async function ready({ expectsBroker }: AdminSettings, snapshots: Snapshots): Promise<Answer> {
  const no = (why: string): Answer => ({ status: 503, type: text, body: `not ready: ${why}\n` })
  let report: MetricsReport
  try {
    report = await snapshots.take()
  } catch (error) {
    return no(error instanceof HermesError ? error.code : 'FAILED')
  }
  const { isUp, states } = report.broker
  if (expectsBroker && !isUp)
    return no(
      states['beatMs'] === 0
        ? 'no broker serves the place yet, or it was killed'
        : `the broker has not answered for ${Math.round((report.takenMs - (states['beatMs'] ?? 0)) / 1000)} s`,
    )
  if (report.topics.some(({ diskAlarm }) => diskAlarm)) return no('the disk is full')
  return { status: 200, type: text, body: 'ready\n' }
}

/** The part of a report that an identity may see: the topics that it may publish to or subscribe to; the rest is for administrators. */
function visible(report: MetricsReport, rights: Rights): MetricsReport {
  if (rights.administer) return report
  const maySee = (topic: string) => topic !== '' && (rights.mayPublish(topic) || rights.maySubscribe(topic))
  const ofTopic = ({ topic }: { readonly topic: string }) => maySee(topic)
  return {
    ...report,
    place: '',
    topics: report.topics.filter(({ name }) => maySee(name)),
    other: { published: noPublished, received: noReceived },
    publishers: report.publishers.filter(ofTopic),
    subscribers: report.subscribers.filter(ofTopic),
    groups: report.groups.filter(ofTopic),
    broker: { isUp: report.broker.isUp, counters: {}, states: {}, loopDelay: noLatency },
    processes: [],
  }
}
