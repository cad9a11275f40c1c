// The peers that are npm packages of bench/peers, and not of the project.
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { root } from '../support/machine.js'

export const peersFolder = join(root, 'bench', 'peers')

const packages = ['zeromq', 'nats', 'ioredis', 'bullmq'] as const
export type PeerPackage = (typeof packages)[number]

export function hasPeer(name: PeerPackage): boolean {
  return existsSync(join(peersFolder, 'node_modules', name))
}

export function hasAllPeers(): boolean {
  return packages.every(hasPeer)
}

/** What the package exports; the caller says of which type that is. */
export function loadPeer(name: PeerPackage): unknown {
  return createRequire(join(peersFolder, 'package.json'))(name)
}
