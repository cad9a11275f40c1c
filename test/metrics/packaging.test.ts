import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const rules = join(root, 'packaging/prometheus/hermes-alerts.yml')
const dashboard = readFileSync(join(root, 'packaging/grafana/hermes.json'), 'utf8')
const documented = new Set(
  [...readFileSync(join(root, 'docs/metrics.md'), 'utf8').matchAll(/^\| `(hermes_\w+)` \|/gm)].map(([, name]) => name),
)
const hasPromtool = spawnSync('promtool', ['--version']).status === 0

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[]
}

/** The expressions of the dashboard, as Prometheus gets them. */
function expressions(): string[] {
  const { panels } = JSON.parse(dashboard) as Dashboard
  return panels.flatMap(({ targets }) => targets.map(({ expr }) => expr.replaceAll('$__rate_interval', '5m')))
}

describe('packaging', () => {
  it('names only metrics that there are', () => {
    const used = [...`${readFileSync(rules, 'utf8')}${dashboard}`.matchAll(/\bhermes_\w+/g)].map(([name]) => name)
    expect(used.length).toBeGreaterThan(30)
    const unknown = used.filter(
      (name) => !documented.has(name) && !documented.has(name.replace(/_(bucket|sum|count)$/, '')),
    )
    expect(unknown).toEqual([])
  })

  it.skipIf(!hasPromtool)('has rules and queries that promtool takes', () => {
    const checked = spawnSync('promtool', ['check', 'rules', rules], { encoding: 'utf8' })
    expect([checked.status, checked.stderr]).toEqual([0, ''])
    const file = join(folder(), 'queries.yml')
    const list = expressions().map((expr, i) => ({ record: `hermes:query:${i}`, expr }))
    // (JSON is YAML)
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'dashboard', rules: list }] }))
    const queries = spawnSync('promtool', ['check', 'rules', file], { encoding: 'utf8' })
    expect([queries.status, queries.stderr, queries.stdout]).toEqual([
      0,
      '',
      expect.stringContaining(`${list.length} rules found`),
    ])
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'wrong', rules: [{ record: 'x', expr: 'rate(' }] }] }))
    expect(spawnSync('promtool', ['check', 'rules', file]).status).not.toBe(0)
  })
})
