import { type ErrorCode, HermesError } from '../../base/errors.js'

/** Codes of the JetStream interface. (nats-server, server/errors.json) */
export const apiCode = {
  noMessage: 10037,
  streamNotFound: 10059,
  streamNameInUse: 10058,
  wrongLastSequence: 10071,
  insufficientResources: 10023,
  noSuitablePeers: 10005,
  notClustered: 10074,
  storageExceeded: 10047,
  streamFull: 10077,
  maximumMessages: 10122,
} as const

const full: readonly number[] = [apiCode.insufficientResources, apiCode.storageExceeded, apiCode.streamFull]

/** What may be over when it is tried again. */
export const passing: ReadonlySet<string> = new Set(['CONNECTION_FAILED', 'TIMED_OUT'])

/** The code that the server answered with; `undefined` where it did not answer. */
export function apiCodeOf(error: unknown): number | undefined {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'number' ? code : undefined
}

/** The client wraps what became of a request. */
function reasonOf(error: unknown): { readonly name: string; readonly message: string } {
  if (!(error instanceof Error)) return { name: '', message: String(error) }
  return error.name === 'RequestError' && error.cause instanceof Error ? error.cause : error
}

/** What went wrong with the cluster, in Hermes' terms. One that is ours stays as it is. */
export function fromNats(error: unknown, what: string, details: Readonly<Record<string, unknown>> = {}): HermesError {
  if (error instanceof HermesError) return error
  const { name, message } = reasonOf(error)
  const code = apiCodeOf(error)
  const make = (kind: ErrorCode, text: string) => new HermesError(kind, text, { cause: error, details })
  if (/Authorization|Authentication|UserAuthenticationExpired/i.test(name))
    return make('UNAUTHORIZED', `The cluster does not let this client in, or has ended its rights: ${message}.`)
  if (/Permission/i.test(name)) return make('ACCESS_DENIED', `The cluster does not permit to ${what}: ${message}.`)
  if (name === 'JetStreamNotEnabled' && code === undefined)
    return make(
      'CONNECTION_FAILED',
      `No server of the cluster answers to ${what}: no server with JetStream has a leader now.`,
    )
  if (code !== undefined && full.includes(code))
    return make('DISK_FULL', `The cluster has no room to ${what}: ${message}. Raise its limits, or shorten retention.`)
  if (code === apiCode.noSuitablePeers || code === apiCode.notClustered)
    return make(
      'CONFIG_MISMATCH',
      `The cluster can't ${what}: ${message}. Name fewer 'replicas', or start more servers.`,
    )
  if (code === apiCode.streamNotFound) return make('NOT_FOUND', `The cluster can't ${what}: there is no such stream.`)
  if (/Timeout/i.test(name)) return make('TIMED_OUT', `The cluster did not answer in time to ${what}.`)
  return make('CONNECTION_FAILED', `The cluster did not ${what}: ${message}.`)
}
