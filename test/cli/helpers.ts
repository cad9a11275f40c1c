import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach } from 'vitest'

export const main = join(import.meta.dirname, '../../dist/cli/main.js')

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** stdout's lines. */
  readonly lines: readonly string[]
}

export interface Running {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  /** Resolves once stdout or stderr holds `text`. */
  until(text: string): Promise<void>
  /** stdout up to now. */
  printed(): string
}

/** A broker of its own process. */
export interface Serving extends Running {
  readonly url: string
}

export interface RunOptions {
  readonly input?: string | Uint8Array
  readonly env?: NodeJS.ProcessEnv
}

/** A fresh folder for each test, which is the working directory of the programs that it runs. */
export function usePlace() {
  let folder = ''
  const running = new Set<ChildProcess>()
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'hermes-cli-'))
  })
  afterEach(async () => {
    for (const child of running) {
      child.kill('SIGKILL')
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    }
    running.clear()
    rmSync(folder, { recursive: true, force: true })
  })

  /** Starts the real program. Its stdin stays open unless there is an input. */
  const start = (args: readonly string[], { input, env = {} }: RunOptions = {}): Running => {
    const child = spawn(process.execPath, [main, ...args], {
      cwd: folder,
      env: { ...process.env, HERMES_DIR: '', NO_COLOR: '', ...env },
    })
    running.add(child)
    const chunks = { out: [] as Buffer[], error: [] as Buffer[] }
    child.stdout.on('data', (chunk: Buffer) => chunks.out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => chunks.error.push(chunk))
    child.stdin.on('error', () => {})
    if (input !== undefined) child.stdin.end(input)
    const text = (list: readonly Buffer[]) => Buffer.concat(list).toString('utf8')
    const ended = once(child, 'close').then(([code]): Ended => {
      const stdout = text(chunks.out)
      return { code, stdout, stderr: text(chunks.error), lines: stdout.split('\n').slice(0, -1) }
    })
    const until = async (wanted: string) => {
      while (!(text(chunks.out) + text(chunks.error)).includes(wanted)) {
        if (child.exitCode !== null) throw new Error(`ended without '${wanted}': ${text(chunks.error)}`)
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    return { child, ended, until, printed: () => text(chunks.out) }
  }

  const hermes = (args: readonly string[], options: RunOptions = {}): Promise<Ended> =>
    start(args, { input: '', ...options }).ended

  /** Runs `hermes serve` on a free port until the test ends. */
  const serve = async (args: readonly string[] = [], options: RunOptions = {}): Promise<Serving> => {
    const server = start(['serve', '--port', '0', '--quiet', ...args], options)
    await server.until('://')
    const url = /(?:tcp|tls):\/\/\S+/.exec(server.printed())?.[0] ?? ''
    return { ...server, url }
  }

  return {
    get folder() {
      return folder
    },
    start,
    hermes,
    serve,
    /** Writes a file and returns its path. */
    file(name: string, content: string): string {
      const path = join(folder, name)
      writeFileSync(path, content)
      return path
    },
    /** All values of a topic, as `sub` prints them. */
    async read(topic: string, ...args: string[]): Promise<readonly string[]> {
      const { code, lines, stderr } = await hermes(['sub', topic, '--from', 'earliest', '--end', ...args])
      if (code !== 0) throw new Error(stderr)
      return lines
    },
  }
}
