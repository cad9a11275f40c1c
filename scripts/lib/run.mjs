// Child processes, for scripts. Node's built-in modules only: nothing is installed when setup starts.
import { spawn } from 'node:child_process'
import { accessSync, constants, createWriteStream } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '..', '..')

/** The path of a program, or undefined. */
export function which(program, path = process.env.PATH ?? '') {
  for (const folder of path.split(delimiter)) {
    const file = join(folder, program)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // Not in this folder.
    }
  }
  return undefined
}

/**
 * Runs a program in the repository's root without stdin. Its output is collected, and also shown or written to a log
 * file as asked. Resolves with `{ code, signal, output, timedOut }`; never rejects on a failing program.
 * A program that outlives `timeoutMs` is killed with everything that it started.
 */
export function run(program, args, { env, show = false, log, timeoutMs, cwd = root } = {}) {
  return new Promise((done) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    const file = log === undefined ? undefined : createWriteStream(log, { flags: 'a' })
    const chunks = []
    let timedOut = false
    const killAll = () => {
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // Already gone.
      }
    }
    const forward = (signal) => {
      killAll()
      process.kill(process.pid, signal)
    }
    process.once('SIGINT', forward)
    process.once('SIGTERM', forward)
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true
            killAll()
          }, timeoutMs)
    const collect = (stream) => (chunk) => {
      chunks.push(chunk)
      file?.write(chunk)
      if (show) stream.write(chunk)
    }
    child.stdout.on('data', collect(process.stdout))
    child.stderr.on('data', collect(process.stderr))
    const finish = (code, signal) => {
      clearTimeout(timer)
      process.off('SIGINT', forward)
      process.off('SIGTERM', forward)
      const result = { code, signal, timedOut, output: Buffer.concat(chunks).toString() }
      if (file === undefined) done(result)
      else file.end(() => done(result))
    }
    child.once('error', (error) => {
      collect(process.stderr)(Buffer.from(`${program}: ${error.message}\n`))
      finish(127, null)
    })
    child.once('close', finish)
  })
}

/** Like `run`, but throws, with the last lines of the output, unless the program ends with 0. */
export async function must(program, args, options = {}) {
  const result = await run(program, args, options)
  if (result.code !== 0) {
    const tail = options.show ? '' : `\n${result.output.split('\n').slice(-40).join('\n')}`
    const how = result.timedOut ? 'ran out of time' : `failed (${result.signal ?? result.code})`
    throw new Error(`${[program, ...args].join(' ')} ${how}${tail}`)
  }
  return result
}
