// What the formatter of C++ is, and what it is given: for npm run format and for the suite `lint`.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

export const clangFormat = 'node_modules/.bin/clang-format'

/** Every C++ file of ours, relative to the root. */
export function nativeSources(root) {
  return readdirSync(join(root, 'native'), { recursive: true })
    .filter((name) => /\.(h|cc)$/.test(name))
    .map((name) => join('native', name))
    .sort()
}
