// npm run cluster: three servers of NATS with JetStream on loopback, to try topics in a cluster.
//
//   npm run cluster -- start     starts them, and prints the address for open() and --url
//   npm run cluster -- status    which run, which leads which topic; ends with 1 if a topic can't be written now
//   npm run cluster -- stop      stops them; what they have stored stays, unless --remove is given
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startServers, streamsOf, urlOf } from './cluster/servers.mjs'
import { setup } from './lib/build.mjs'
import { fail } from './lib/log.mjs'
import { ensureNatsServer, natsServer, versionOf } from './lib/nats-server.mjs'
import { root } from './lib/run.mjs'

const help = `npm run cluster -- start|status|stop [options]: three servers of NATS with JetStream on loopback, with sync_interval: always

  --folder FOLDER   for their files (build/cluster)
  --port N          clients reach them at N, N + 1 and N + 2, and they each other at N + 10, N + 11 and N + 12 (4221)
  --remove          stop: delete what they have stored, too
  --json            one JSON document
  --help`

const options = {
  folder: { type: 'string', default: join(root, 'build', 'cluster') },
  port: { type: 'string', default: '4221' },
  remove: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
}
const stopMs = 20_000
const askMs = 3000

function readArguments() {
  try {
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    const [command] = positionals
    if (values.help || positionals.length === 0) {
      console.log(help)
      process.exit(values.help ? 0 : 1)
    }
    if (positionals.length > 1 || !['start', 'status', 'stop'].includes(command))
      fail(`${positionals.join(' ')} is no command.\n\n${help}`)
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 1024 || port > 65_000) fail(`--port takes 1024 to 65000, not ${values.port}`)
    return { ...values, port, command, folder: resolve(values.folder) }
  } catch (error) {
    return fail(`${error.message}\n\n${help}`)
  }
}

const { command, folder, port, remove, json } = readArguments()
const note = join(folder, 'cluster.json')
const configOf = (index) => join(folder, `server-${index}.conf`)

/** What was started in the folder; `undefined` if nothing was. */
function readNote() {
  return existsSync(note) ? JSON.parse(readFileSync(note, 'utf8')) : undefined
}

/** Whether the process with this number is the server still that was started here, and not a later one. */
function isOurs(pid, index) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(configOf(index))
  } catch {
    return false
  }
}

const running = ({ pids }) => pids.filter(isOurs)

async function start() {
  const found = readNote()
  if (found !== undefined && running(found).length > 0)
    fail(`servers run in ${folder} already: ${found.url}. Stop them: npm run cluster -- stop`)
  await setup()
  const missing = await ensureNatsServer()
  if (missing !== undefined) fail(missing)
  mkdirSync(folder, { recursive: true })
  const addresses = [0, 1, 2].map((n) => ({ host: '127.0.0.1', port: port + n, route: port + 10 + n }))
  const { servers, url } = await startServers({ size: 3, folder, addresses, detached: true }).catch((error) =>
    fail(`${error.message}\nIf a port is taken, choose others: --port`),
  )
  writeFileSync(note, `${JSON.stringify({ url, addresses, pids: servers.map(({ pid }) => pid) })}\n`)
  if (json) return console.log(JSON.stringify({ url, version: versionOf(natsServer()), folder }))
  console.log(`three servers (nats-server ${versionOf(natsServer())}) run: ${url}`)
  console.log(`files in ${folder}; to stop them: npm run cluster -- stop`)
}

/** The topics, as one of the servers has them; `undefined` if none answers. */
async function topicsOf({ addresses }) {
  try {
    return await streamsOf(
      urlOf(addresses),
      async (manager) => {
        const topics = []
        for await (const { config, cluster, state } of manager.streams.list('hermes.topic.>')) {
          const { leader = '', replicas = [] } = cluster ?? {}
          const current =
            replicas.filter((replica) => replica.current && !replica.offline).length + (leader === '' ? 0 : 1)
          const topic = config.name.replace('HERMES_', '').replaceAll('~', '.')
          topics.push({
            topic,
            leader,
            current,
            replicas: config.num_replicas,
            messages: state.messages,
            bytes: state.bytes,
          })
        }
        return topics
      },
      { timeout: askMs },
    )
  } catch {
    return undefined
  }
}

async function status() {
  const found = readNote()
  if (found === undefined) fail(`nothing was started in ${folder}`)
  const { url, addresses, pids } = found
  const servers = addresses.map(({ host, port }, n) => ({
    server: `s${n}`,
    address: `${host}:${port}`,
    pid: isOurs(pids[n], n) ? pids[n] : 0,
  }))
  const topics = servers.some(({ pid }) => pid !== 0) ? await topicsOf(found) : undefined
  const isWell = topics?.every(({ leader }) => leader !== '') ?? false
  process.exitCode = isWell ? 0 : 1
  if (json) return console.log(JSON.stringify({ url, servers, answers: topics !== undefined, topics: topics ?? [] }))
  for (const { server, address, pid } of servers)
    console.log(`${server}  ${address}  ${pid === 0 ? 'does not run' : `runs (${pid})`}`)
  if (topics === undefined) console.log('No server answers: a majority is needed.')
  for (const { topic, leader, current, replicas, messages, bytes } of topics ?? [])
    console.log(
      `${topic}: ${leader === '' ? 'no leader' : `led by ${leader}`}, ${current} of ${replicas} current, ${messages} batches, ${bytes} bytes`,
    )
}

async function stop() {
  const found = readNote()
  if (found === undefined) fail(`nothing was started in ${folder}`)
  const left = () => running(found)
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    for (const pid of left()) process.kill(pid, signal)
    for (const until = performance.now() + stopMs; left().length > 0 && performance.now() < until; ) await sleep(20)
  }
  if (left().length > 0) fail(`these do not end: ${left().join(', ')}`)
  if (remove) rmSync(folder, { recursive: true, force: true })
  else rmSync(note)
  if (json) console.log(JSON.stringify({ stopped: found.pids, removed: remove }))
  else console.log(remove ? `stopped; ${folder} is removed` : `stopped; what they have stored is in ${folder}`)
}

await { start, status, stop }[command]()
