// A nats-server for the tests of `nats:` places. Debian 12's (2.9.10) is too old: see docs/cluster.md. So it is fetched from the next Debian by apt with folders
// of its own, as an ordinary user, without a change to the system; apt checks the signature.
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { cacheFolder } from './cache.mjs'
import { timed } from './log.mjs'
import { must, which } from './run.mjs'

/** Of Debian: 13, and what will follow it. */
const releases = ['trixie', 'sid']
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'
const fetchedFrom = (release) => join(cacheFolder, `nats-server-${release}`, 'nats-server')

/** Whether the program is of 2.10 or later. */
function isRecent(program) {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  const [, major, minor] = /v(\d+)\.(\d+)\./.exec(stdout ?? '') ?? []
  return major !== undefined && (Number(major) > 2 || Number(minor) >= 10)
}

/** The release of Debian whose server is wanted: `HERMES_NATS_RELEASE`, by default any server that will do. */
function wantedRelease() {
  const { HERMES_NATS_RELEASE: release } = process.env
  if (release === undefined || release === '') return undefined
  if (releases.includes(release)) return release
  throw new Error(`HERMES_NATS_RELEASE is one of ${releases.join(', ')}, not ${release}`)
}

/** The program, if one is here that will do. */
export function natsServer() {
  const { HERMES_NATS_SERVER: named } = process.env
  const release = wantedRelease()
  const known = release === undefined ? [named, 'nats-server', fetchedFrom('trixie')] : [fetchedFrom(release)]
  return known.find((program) => program !== undefined && isRecent(program))
}

/** The version of a program: `2.10.27`. */
export function versionOf(program) {
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8' })
  return /v(\d+\.\d+\.\d+\S*)/.exec(stdout ?? '')?.[1] ?? 'unknown'
}

/** Makes sure of one. @returns a sentence that says what is missing, or undefined */
export async function ensureNatsServer() {
  if (natsServer() !== undefined) return undefined
  const release = wantedRelease() ?? 'trixie'
  const fetched = fetchedFrom(release)
  if (which('apt-get') === undefined || which('dpkg-deb') === undefined || !existsSync(keyring))
    return 'nats-server 2.10 or later is not here: install it, or name it in HERMES_NATS_SERVER'
  const work = `${fetched}.${process.pid}`
  try {
    for (const name of ['lists/partial', 'cache/archives/partial', 'package'])
      mkdirSync(join(work, name), { recursive: true })
    const sources = join(work, 'sources.list')
    writeFileSync(sources, `deb [signed-by=${keyring}] http://deb.debian.org/debian ${release} main\n`)
    const options = Object.entries({
      'Dir::Etc::sourcelist': sources,
      'Dir::Etc::sourceparts': '/dev/null',
      'Dir::State::lists': join(work, 'lists'),
      'Dir::Cache': join(work, 'cache'),
      'APT::Sandbox::User': 'root',
    }).flatMap(([name, value]) => ['-o', `${name}=${value}`])
    await timed(`fetching nats-server from Debian ${release}`, async () => {
      await must('apt-get', [...options, '-q', 'update'])
      await must('apt-get', [...options, '-q', 'download', `nats-server/${release}`], { cwd: work })
    })
    const archive = readdirSync(work).find((name) => name.endsWith('.deb'))
    await must('dpkg-deb', ['-x', archive, 'package'], { cwd: work })
    mkdirSync(join(fetched, '..'), { recursive: true })
    copyFileSync(join(work, 'package', 'usr', 'sbin', 'nats-server'), join(work, 'nats-server'))
    renameSync(join(work, 'nats-server'), fetched)
    return undefined
  } catch (error) {
    return `nats-server could not be fetched: ${error.message.split('\n')[0]}`
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}
