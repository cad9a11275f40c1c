// A network of its own in which single machines can be cut off: a namespace for each of three servers, joined by a bridge, and one for the client. All of it lies within
// the namespace of this process, and is gone with it; so no other process sees anything of it.
import { spawn, spawnSync } from 'node:child_process'
import { which } from '../lib/run.mjs'

const mark = 'HERMES_OWN_NETWORK'
const bridge = 'hermes0'
const clientHost = '10.77.0.254'
const hostOf = (index) => `10.77.0.${index + 1}`

/** Why there is no such network here; `undefined` if there can be one. */
export function namespacesMissing() {
  if (process.getuid?.() !== 0) return 'cutting machines off needs network namespaces, and those need root'
  const missing = ['unshare', 'nsenter', 'ip'].filter((program) => which(program) === undefined)
  if (missing.length > 0) return `cutting machines off needs ${missing.join(', ')} (Debian: util-linux, iproute2)`
  const { status, stderr } = spawnSync('unshare', ['--net', 'ip', 'link', 'add', bridge, 'type', 'bridge'])
  return status === 0 ? undefined : `there are no network namespaces or bridges here: ${String(stderr).trim()}`
}

/** Whether this process has a network of its own. */
export const isOwnNetwork = () => process.env[mark] === '1'

/** The command that runs another one in a network of its own. */
export const inOwnNetwork = ['unshare', '--net']
export const ownNetworkEnv = { [mark]: '1' }

function ip(...args) {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`)
}

/** A network that has just been made has not even loopback. */
export function startOwnNetwork() {
  ip('link', 'set', 'lo', 'up')
}

/** REQUIRES: this process has a network of its own. */
export class Namespaces {
  #holders = []
  /** Where servers listen, and how they are started there. */
  addresses = []

  static async make(size) {
    const network = new Namespaces()
    ip('link', 'add', bridge, 'type', 'bridge')
    ip('link', 'set', bridge, 'up')
    ip('link', 'add', 'client', 'type', 'veth', 'peer', 'name', 'to-client')
    ip('link', 'set', 'to-client', 'master', bridge, 'up')
    ip('addr', 'add', `${clientHost}/24`, 'dev', 'client')
    ip('link', 'set', 'client', 'up')
    for (let index = 0; index < size; index++) await network.#add(index)
    return network
  }

  async #add(index) {
    // It keeps the namespace as long as this process keeps its input open.
    const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#holders.push(holder)
    holder.stdin.write('ready\n')
    await new Promise((resolve, reject) => {
      holder.stdout.once('data', resolve)
      holder.once('exit', () => reject(new Error('a namespace can not be made')))
    })
    const enter = ['nsenter', '--target', String(holder.pid), '--net']
    const within = (...args) => {
      const { status, stderr } = spawnSync(enter[0], [...enter.slice(1), 'ip', ...args], { encoding: 'utf8' })
      if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr.trim()}`)
    }
    ip('link', 'add', `to-${index}`, 'type', 'veth', 'peer', 'name', 'net', 'netns', String(holder.pid))
    ip('link', 'set', `to-${index}`, 'master', bridge, 'up')
    within('link', 'set', 'lo', 'up')
    within('addr', 'add', `${hostOf(index)}/24`, 'dev', 'net')
    within('link', 'set', 'net', 'up')
    this.addresses.push({ host: hostOf(index), port: 4222, route: 6222, enter })
  }

  /** From now on no packet reaches server `index`, and none of its packets anybody else. */
  cutServer(index) {
    ip('link', 'set', `to-${index}`, 'down')
  }

  healServer(index) {
    ip('link', 'set', `to-${index}`, 'up')
  }

  /** The same for the client; the servers go on among themselves. */
  cutClient() {
    ip('link', 'set', 'to-client', 'down')
  }

  healClient() {
    ip('link', 'set', 'to-client', 'up')
  }

  /** REQUIRES: the servers are gone. */
  async close() {
    for (const [index, holder] of this.#holders.entries()) {
      const gone = new Promise((resolve) => holder.once('exit', resolve))
      ip('link', 'del', `to-${index}`)
      holder.stdin.end()
      await gone
    }
    ip('link', 'del', 'to-client')
    ip('link', 'del', bridge)
  }
}
