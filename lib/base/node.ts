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
