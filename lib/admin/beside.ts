import { Worker } from 'node:worker_threads'
import { type ErrorCode, HermesError } from '../base/errors.js'
import type { ReloadOptions } from '../broker/reload.js'
import { type AdminOptions, checkAdminOptions } from './options.js'

/** An admin server that runs in a thread beside the caller's. */
export interface AdminThread extends AsyncDisposable {
  readonly url: string
  /** As `Broker.reload`, which has to take the same before. */
  reload(options: ReloadOptions): void
  close(): Promise<void>
}

/** What a scrape of a thousand topics makes, and drops at once, is a few MB: in a young generation of this size it is not copied on the way. */
const youngMb = 64
/** A thread that does not end by itself in this time is ended. */
const endMs = 2000

/**
 * Starts the admin server in a thread of its own.
 *
 * @param failed told if the thread ends unasked
 * @throws HermesError as `serveAdmin()`
 */
export async function serveAdminBeside(options: AdminOptions, failed: (error: unknown) => void): Promise<AdminThread> {
  // Mistakes are told from here, where they were made.
  checkAdminOptions(options)
  const worker = new Worker(new URL('./worker.js', import.meta.url), {
    workerData: options,
    resourceLimits: { maxYoungGenerationSizeMb: youngMb },
  })
  let closing: Promise<void> | undefined
  const ended = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  const url = await new Promise<string>((resolve, reject) => {
    worker.once('error', reject)
    worker.once('message', (told: { url?: string; failed?: { code: ErrorCode; message: string } }) => {
      worker.off('error', reject)
      if (told.url !== undefined) resolve(told.url)
      else reject(new HermesError(told.failed?.code ?? 'IO_FAILED', told.failed?.message ?? ''))
    })
  })
  worker.on('error', failed)
  const close = (): Promise<void> => {
    closing ??= (async () => {
      worker.postMessage('close')
      const timer = setTimeout(() => void worker.terminate(), endMs)
      await ended
      clearTimeout(timer)
    })()
    return closing
  }
  const reload = (given: ReloadOptions): void => worker.postMessage(given)
  return { url, reload, close, [Symbol.asyncDispose]: close }
}
