import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')

test('docs/testkit.md names everything in hermes-mq/testkit', () => {
  const page = readFileSync(join(root, 'docs/testkit.md'), 'utf8')
  const index = readFileSync(join(root, 'lib/testkit/index.ts'), 'utf8')
  const names = [...index.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, list = '']) =>
    list.split(',').map((name) => name.trim().replace(/^type /, '')),
  )
  expect(names.length).toBeGreaterThan(15)
  expect(names.filter((name) => !new RegExp(`\`(?:new )?${name}[\`(]`).test(page))).toEqual([])
})

test('docs/guarantees.md names only scripts and commands that exist', () => {
  const page = readFileSync(join(root, 'docs/guarantees.md'), 'utf8')
  const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    scripts: Record<string, string>
  }
  const named = [...page.matchAll(/npm run ([\w:-]+)/g)].map(([, name = '']) => name)
  expect(named.length).toBeGreaterThan(2)
  expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
  const files = [...page.matchAll(/`((?:test|native)\/[\w./-]+)`/g)].map(([, name = '']) => name)
  expect(files.length).toBeGreaterThan(5)
  for (const name of files) expect(() => readFileSync(join(root, name))).not.toThrow()
})
