// What is done to a cluster in a round. Each takes `{ cluster, network, random }`, and is over when the cluster is whole again.
import { setTimeout as sleep } from 'node:timers/promises'
import { streamsOf } from './servers.mjs'
import { leaderOf } from './traffic.mjs'

const before = (random) => sleep(300 + random() * 500)

async function killed({ cluster, random }) {
  await before(random)
  const server = cluster.servers[await leaderOf(cluster, streamsOf)]
  await server.kill()
  // At times before the election is over, at times after it.
  await sleep(random() * 8000)
  await server.start()
  await before(random)
}

async function stopped({ cluster, random }) {
  await before(random)
  const server = cluster.servers[await leaderOf(cluster, streamsOf)]
  server.send('SIGSTOP')
  try {
    await sleep(500 + random() * 11_500)
  } finally {
    server.send('SIGCONT')
  }
  await before(random)
}

async function partitioned({ cluster, network, random }) {
  await before(random)
  const index = await leaderOf(cluster, streamsOf)
  network.cutServer(index)
  try {
    await sleep(500 + random() * 11_500)
  } finally {
    network.healServer(index)
  }
  await before(random)
}

async function cut({ network, random }) {
  await before(random)
  network.cutClient()
  try {
    await sleep(random() * (random() < 0.2 ? 12_000 : 1500))
  } finally {
    network.healClient()
  }
  await before(random)
}

/** A majority is away for a minute. What is published meanwhile waits. */
async function quorum({ cluster, random, minuteMs }) {
  await before(random)
  const leader = await leaderOf(cluster, streamsOf)
  const away = [leader, (leader + 1) % 3].map((index) => cluster.servers[index])
  await Promise.all(away.map((server) => server.kill()))
  await sleep(minuteMs)
  await Promise.all(away.map((server) => server.start()))
  await before(random)
}

async function steppedDown({ cluster, random }) {
  await before(random)
  await streamsOf(cluster.url, (_, connection) =>
    connection.request('$JS.API.STREAM.LEADER.STEPDOWN.HERMES_orders', '', { timeout: 5000 }),
  )
  await sleep(1500)
}

/** By name: what it is, what it does, and whether it needs a network of its own. */
export const faults = {
  killed: { what: 'the leader is killed', act: killed },
  stopped: { what: 'the leader is stopped', act: stopped },
  partitioned: { what: 'the leader is cut off', act: partitioned, ownNetwork: true },
  cut: { what: 'the client is cut off', act: cut, ownNetwork: true },
  quorum: { what: 'a majority is away for a minute', act: quorum },
  stepdown: { what: 'the leader steps down', act: steppedDown },
}
