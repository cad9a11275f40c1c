import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type AdminServer, serveAdmin } from '../../lib/admin/server.js'
import { json, open } from '../../lib/index.js'
import { foldersPerTest, root } from '../helpers/folder.js'

const folder = foldersPerTest()
const hasPrometheus = ['prometheus', 'promtool'].every((name) => spawnSync(name, ['--version']).status === 0)
const boss = { name: 'boss', token: 'boss-boss-boss-boss', administer: true }

let server: AdminServer | undefined
let prometheus: ChildProcess | undefined

afterEach(async () => {
  if (prometheus !== undefined && prometheus.exitCode === null) {
    const gone = once(prometheus, 'exit')
    prometheus.kill('SIGKILL')
    await gone
  }
  prometheus = undefined
  await server?.close()
})

async function freePort(): Promise<number> {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as { port: number }
  listener.close()
  await once(listener, 'close')
  return port
}

interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

/** Waits until the query has an answer that is as wanted. */
async function answered(
  url: string,
  query: string,
  isWanted: (series: readonly Series[]) => boolean,
): Promise<readonly Series[]> {
  const end = performance.now() + 60_000
  let last: unknown
  while (performance.now() < end) {
    try {
      const response = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(query)}`)
      last = await response.json()
      const { result } = (last as { data: { result: readonly Series[] } }).data
      if (isWanted(result)) return result
    } catch (error) {
      last = error
    }
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`Prometheus has no such answer to ${query}: ${JSON.stringify(last)}`)
}

describe.skipIf(!hasPrometheus)('Prometheus', () => {
  it('scrapes the admin server with a token, and has what the place has', async () => {
    const base = folder()
    const place = join(base, 'place')
    await using hermes = await open(place)
    const orders = hermes.topic('orders', { codec: json })
    const publisher = await orders.publisher()
    await (await orders.group('billing')).close()
    for (let id = 0; id < 30; id++) publisher.publish({ id })
    const subscriber = await orders.subscriber({ from: 'earliest' })
    while (subscriber.position < 31) subscriber.poll(() => {})
    server = await serveAdmin({ dir: place, port: 0, access: [boss] })

    const port = await freePort()
    const config = join(base, 'prometheus.yml')
    // (JSON is YAML.)
    const job = (name: string, more: object) => ({
      job_name: name,
      scrape_interval: '1s',
      scrape_timeout: '1s',
      static_configs: [{ targets: [new URL((server as AdminServer).url).host] }],
      ...more,
    })
    const authorization = { credentials: boss.token }
    writeFileSync(
      config,
      JSON.stringify({
        global: { evaluation_interval: '200ms' },
        rule_files: [join(root, 'packaging/prometheus/hermes-alerts.yml')],
        scrape_configs: [job('hermes', { authorization }), job('stranger', {})],
      }),
    )
    expect(spawnSync('promtool', ['check', 'config', config], { encoding: 'utf8' }).stderr).toBe('')
    const data = join(base, 'data')
    const args = [`--config.file=${config}`, `--storage.tsdb.path=${data}`, `--web.listen-address=127.0.0.1:${port}`]
    prometheus = spawn('prometheus', [...args, '--log.level=error'], { stdio: 'ignore' })
    const url = `http://127.0.0.1:${port}`

    await answered(url, 'up{job="hermes"}', ([one]) => one?.value[1] === '1')
    await answered(url, 'up{job="stranger"}', ([one]) => one?.value[1] === '0')
    const value = async (query: string, wanted: string) => {
      await answered(url, query, (series) => series.length === 1 && series[0]?.value[1] === wanted)
    }
    await value('hermes_topic_published_messages_total{topic="orders"}', '30')
    await value('hermes_topic_received_messages_total{topic="orders"}', '30')
    await value('hermes_group_lag_messages{topic="orders",group="billing",kind="shared"}', '30')
    await value('hermes_broker_up', '0')
    // Histograms are such that quantiles come out.
    await answered(
      url,
      'histogram_quantile(0.99, hermes_topic_latency_seconds_bucket{topic="orders"})',
      ([one]) => Number(one?.value[1]) > 0,
    )
    // What is counted later comes later.
    for (let id = 0; id < 12; id++) publisher.publish({ id })
    await value('hermes_topic_published_messages_total{topic="orders"}', '42')
    await value('hermes_group_lag_messages{topic="orders",group="billing"}', '42')
    // The alert rules were loaded, and see the series.
    const rules = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { name: string; health: string; lastError?: string }[] }[] }
    }
    const all = rules.data.groups.flatMap((group) => group.rules)
    expect(all.length).toBeGreaterThan(5)
    expect(all.filter(({ lastError }) => lastError !== undefined && lastError !== '')).toEqual([])
    await answered(url, 'hermes_broker_up == 0', ([one]) => one !== undefined)
  }, 180_000)

  it('promtool finds nothing to criticise in what is scraped', async () => {
    const place = join(folder(), 'place')
    await using hermes = await open(place)
    const publisher = await hermes.topic('orders', { codec: json }).publisher()
    publisher.publish({ id: 1 })
    server = await serveAdmin({ dir: place, port: 0 })
    const input = await (await fetch(`${server.url}/metrics`)).text()
    expect(input).toContain('hermes_topic_published_messages_total{topic="orders"} 1')
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
    expect([status, stdout, stderr]).toEqual([0, '', ''])
  })
})
