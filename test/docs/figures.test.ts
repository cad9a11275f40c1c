import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'

const root = join(import.meta.dirname, '../..')
const { architectureFigure } = (await import(pathToFileURL(join(root, 'scripts/draw-architecture.mjs')).href)) as {
  architectureFigure(): string
}

test('the picture of the architecture is what scripts/draw-architecture.mjs draws', () => {
  expect(readFileSync(join(root, 'docs/figures/architecture.svg'), 'utf8')).toBe(architectureFigure())
})
