/**
 * Modules of Node, taken when they are needed: what imports this file runs, and can be bundled, where there is no Node.
 * (An `import` of one at the top of a file could not be avoided by programs that do not need it.)
 */
interface NodeModules {
  readonly 'node:fs': typeof import('node:fs')
  readonly 'node:module': typeof import('node:module')
  readonly 'node:path': typeof import('node:path')
  readonly 'node:util': typeof import('node:util')
  readonly 'node:zlib': typeof import('node:zlib')
}

/** Node's module of this name, or `undefined` where there is no Node. */
export function nodeModule<Name extends keyof NodeModules>(name: Name): NodeModules[Name] | undefined {
  const { process } = globalThis as { readonly process?: Partial<NodeJS.Process> }
  return process?.getBuiltinModule?.(name) as NodeModules[Name] | undefined
}

const host = (globalThis as { readonly process?: Partial<NodeJS.Process> }).process

/** What runs this program, for the broker's log: `node/20.20.0`. */
export const platformWords = host?.versions?.node === undefined ? 'no node' : `node/${host.versions.node}`

/** By which members of groups and holders of leaderships are known, if they are not named: title and number of the process. */
export function processWords(): string {
  return host?.pid === undefined ? 'a browser' : `${host.title} ${host.pid}`
}

/** Tells of what concerns no caller: a warning of the process. */
export function emitWarning(message: string, code: string): void {
  if (typeof host?.emitWarning === 'function') host.emitWarning(message, { code })
  else console.warn(`${code}: ${message}`)
}

/** The timer does not keep the process running. */
export function unref(timer: ReturnType<typeof setTimeout>): void {
  // (Timers of a browser are numbers.)
  if (typeof timer === 'object') timer.unref?.()
}
