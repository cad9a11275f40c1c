// Builds that are wrong in known ways, which the campaign has to find: else it proves nothing.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fail } from '../lib/log.mjs'
import { root } from '../lib/run.mjs'

/** Of each: which lines of which file of dist/ are replaced, which rounds find it, and by what words. */
export const mutants = {
  'sends-again': {
    what: 'what is not known to be stored is sent again without a look',
    file: 'placement/nats/appender.js',
    lines: [[/const isStored = doubtful !== undefined && .*;/, 'const isStored = false;']],
    kind: 'cut',
    rounds: 8,
    found: /twice/,
  },
  'acknowledges-early': {
    what: 'what is not known to be stored is acknowledged',
    file: 'placement/nats/appender.js',
    lines: [[/return found === 'refused' \? fate : found;/, "stored(tail.next); return 'stored';"]],
    kind: 'cut',
    rounds: 8,
    found: /acknowledged as|failed|LEASE|order/,
  },
  'compares-nothing': {
    what: 'a publisher appends without a comparison',
    file: 'placement/nats/appender.js',
    lines: [
      [/expect: \{ lastSequence: last \},/, ''],
      [/if \(seq === last \+ 1\)/, 'if (seq > 0)'],
    ],
    kind: 'killed',
    rounds: 1,
    found: /./,
  },
  'begins-late': {
    what: 'a subscriber goes on one message late when its connection was lost',
    file: 'placement/nats/subscriber.js',
    lines: [
      [/Feed\.open\(this\.#stream, this\.#at,/, 'Feed.open(this.#stream, this.#at + (this.#at > 50 ? 1 : 0),'],
      [/if \(seq > this\.#at && first > this\.#arriving &&/, 'if (false &&'],
    ],
    kind: 'cut',
    rounds: 8,
    found: /the subscriber saw/,
  },
  'leaves-out': {
    what: 'a bridge that is opened again leaves a message out',
    file: 'placement/nats/mirror.js',
    lines: [[/tail\.last === 0 \? undefined : tail\.next;/, 'tail.last === 0 ? undefined : tail.next + 1;']],
    kind: 'bridge',
    rounds: 1,
    found: /of the mirror|the mirror has|does not have/,
  },
  'marks-wrong': {
    what: 'a mirror in a directory is one message further than it is',
    file: 'placement/local/mirror.js',
    lines: [[/mark\.source \+ target - mark\.target/, 'mark.source + target - mark.target + 1']],
    kind: 'bridge',
    rounds: 2,
    found: /of the mirror|the mirror has/,
  },
  'outrun-unnoticed': {
    what: 'a bridge that another one has outrun goes on as if it had not been',
    file: 'placement/nats/mirror.js',
    lines: [
      [
        /this\.#reached\(found\);\s*return found\.next === tail\.next && .*;/,
        'this.#reached({ last: found.last, next: tail.next }); return true;',
      ],
    ],
    kind: 'race',
    rounds: 2,
    found: /of the mirror|the mirror has|does not get on|BEHIND|ended by itself/,
  },
}

/** A build with one of them in it. @returns its dist/ */
function build(name, { file, lines }) {
  const folder = join(root, 'build', 'mutants', `${name}-${process.pid}`)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  for (const linked of ['package.json', 'prebuilds', 'build']) symlinkSync(join(root, linked), join(folder, linked))
  cpSync(join(root, 'dist'), join(folder, 'dist'), { recursive: true })
  const path = join(folder, 'dist', file)
  let text = readFileSync(path, 'utf8')
  for (const [from, to] of lines) {
    if (!from.test(text)) fail(`mutant ${name}: ${file} has no line ${from}: see scripts/cluster/mutants.mjs`)
    text = text.replace(from, to)
  }
  writeFileSync(path, text)
  return { folder, dist: join(folder, 'dist') }
}

/** @param only names @returns the exit code */
export function checkMutants({ only, seed, version, json }) {
  for (const name of only)
    if (mutants[name] === undefined) fail(`--mutants takes some of ${Object.keys(mutants)}, or all`)
  if (!json) console.log(`seed ${seed}, nats-server ${version}`)
  const outcome = {}
  for (const name of only) {
    const mutant = mutants[name]
    const { folder, dist } = build(name, mutant)
    try {
      const args = ['cluster', '--kinds', mutant.kind, '--rounds', String(mutant.rounds), '--dist', dist, '--json']
      const command = [join(root, 'scripts/campaign.mjs'), ...args, '--seed', String(seed)]
      const { stdout } = spawnSync(process.execPath, command, {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const { results } = JSON.parse(stdout.trim().split('\n').at(-1))
      const { violations } = results[mutant.kind]
      outcome[name] = violations.find(({ message }) => mutant.found.test(message))?.message
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
    if (json) continue
    const [first] = (outcome[name] ?? '').split('\n')
    console.log(`${name}: ${mutant.what}: ${outcome[name] === undefined ? 'NOT FOUND' : `found: ${first}`}`)
  }
  const missed = only.filter((name) => outcome[name] === undefined)
  if (json) console.log(JSON.stringify({ seed, version, missed, outcome }))
  else console.log(missed.length === 0 ? 'All of them were found.' : `Not found: ${missed}`)
  return missed.length === 0 ? 0 : 1
}
