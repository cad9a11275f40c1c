import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { HermesError } from '../base/errors.js'
import { invalid, likely } from '../base/options.js'
import { native } from '../native/addon.js'

export interface CrashOptions {
  /** The addon that was built with crash points: `build/crash-points/hermes.node` of a clone. */
  readonly addon: string
  /** One of `crashPoints(addon)`. */
  readonly point: string
  /** The process dies when it comes to the point for this time, counted from 1. Default 1. */
  readonly passage?: number
  /** A program for Node, and its arguments. Whatever it starts inherits the point. */
  readonly program: string
  readonly args?: readonly string[]
  /** Environment variables besides those of this process. */
  readonly env?: Readonly<Record<string, string>>
  /** A program that does not come to the point, and does not end either, is killed after so many milliseconds. Default 60,000. */
  readonly timeoutMs?: number
}

export interface CrashReport {
  /** Whether it died at the point. If not, it ended by itself, or was killed after `timeoutMs`. */
  readonly reached: boolean
  readonly timedOut: boolean
  readonly exitCode: number | null
  readonly stdout: string
  readonly stderr: string
}

/**
 * The names of the places in the core at which a process can be killed, sorted: `append:claimed` is between the claim of room and the filling of it.
 * Empty for an addon that was built without, as all released ones are.
 *
 * @param addon the path of an addon. Default: the one that this process uses.
 * @throws HermesError `NATIVE_UNAVAILABLE` if it can't be loaded
 */
export function crashPoints(addon?: string): readonly string[] {
  if (addon === undefined) return [...native.crashPoints]
  try {
    return [...(createRequire(import.meta.url)(resolve(addon)) as typeof native).crashPoints]
  } catch (cause) {
    throw new HermesError(
      'NATIVE_UNAVAILABLE',
      `${addon} is no addon that can be loaded here. In a clone of hermes-mq, npm run build:native -- --crash-points makes one.`,
      { cause },
    )
  }
}

/**
 * Runs a program until it comes to a crash point of the core, where it dies as by SIGKILL: in the middle of an append, a rotation or a recovery.
 * Look at what it left afterwards.
 *
 * @throws HermesError `INVALID_ARGUMENT` for a point that the addon does not have, `NATIVE_UNAVAILABLE`
 */
export function runToCrashPoint(options: CrashOptions): Promise<CrashReport> {
  const { addon, point, passage = 1, program, args = [], env = {}, timeoutMs = 60_000 } = options
  const points = crashPoints(addon)
  if (!points.includes(point)) {
    const meant = likely(point, points)
    const hint =
      points.length === 0 ? 'It was built without any.' : meant === undefined ? '' : `Did you mean '${meant}'?`
    throw invalid(`${addon} has no crash point '${point}'. ${hint}`, { points })
  }
  if (!Number.isSafeInteger(passage) || passage < 1)
    throw invalid(`'passage' must be an integer from 1, not ${passage}.`)
  return new Promise((fulfil, reject) => {
    const child = spawn(process.execPath, [program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env, HERMES_NATIVE: resolve(addon), HERMES_CRASH: `${point}@${passage}` },
    })
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, timeoutMs)
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk))
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(error)
    })
    // When its last words were read, too.
    child.once('close', (exitCode, signal) => {
      clearTimeout(timer)
      fulfil({
        reached: signal === 'SIGKILL' && !timedOut,
        timedOut,
        exitCode,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      })
    })
  })
}
