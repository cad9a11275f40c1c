import { HermesError } from '../../base/errors.js'
import type { MetricsReport } from '../../model/metrics.js'
import { openPlace } from '../place.js'

/** Where reports come from. */
export interface MetricsSource extends AsyncDisposable {
  readonly name: string
  take(signal: AbortSignal): Promise<MetricsReport>
}

const mostBytes = 64 * 1024 * 1024
const answerMs = 5000

/** A directory of this machine, looked at without asking any process; or a cluster. */
export async function placeSource(dir: string): Promise<MetricsSource> {
  const hermes = await openPlace(dir, false)
  return {
    name: dir,
    take: (signal) => hermes.metrics({ signal }),
    [Symbol.asyncDispose]: () => hermes.close(),
  }
}

/** The admin server at `url`, here or elsewhere. */
export function adminSource(url: string, token: string | undefined): MetricsSource {
  const target = new URL('/api/metrics', url)
  const headers = token ? { authorization: `Bearer ${token}` } : {}
  const take = async (signal: AbortSignal): Promise<MetricsReport> => {
    let response: Response
    try {
      response = await fetch(target, {
        headers,
        redirect: 'error',
        signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
      })
    } catch (cause) {
      throw new HermesError('CONNECTION_FAILED', `${target.origin} can't be asked: ${reasonOf(cause)}.`, { cause })
    }
    if (response.status === 401)
      throw new HermesError('UNAUTHORIZED', `${target.origin} asks for a token: set HERMES_TOKEN.`)
    if (!response.ok || !/^application\/json\b/.test(response.headers.get('content-type') ?? ''))
      throw new HermesError(
        'CONNECTION_FAILED',
        `${target.href} answers with status ${response.status}: is that \`hermes admin\`?`,
      )
    if (Number(response.headers.get('content-length') ?? 0) > mostBytes)
      throw new HermesError('CONNECTION_FAILED', `${target.href} answers with more than 64 MiB.`)
    return (await response.json()) as MetricsReport
  }
  return { name: target.origin, take, [Symbol.asyncDispose]: async () => {} }
}

function reasonOf(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error && cause.message !== '' ? cause.message : message
}
