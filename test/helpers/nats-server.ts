import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { JetStreamManager } from '@nats-io/jetstream'
import type { NatsConnection } from '@nats-io/transport-node'
import { makeFolder, removeFolder, root } from './folder.js'

/*
 * Servers of NATS on loopback: one, or a cluster of three. What starts them is scripts/cluster/servers.mjs, which `npm run cluster` and the campaign use, too.
 */

/** One server process. */
export interface NatsServer {
  readonly port: number
  readonly pid: number
  start(): Promise<void>
  kill(signal?: NodeJS.Signals): Promise<void>
  send(signal: NodeJS.Signals): void
}

export interface NatsCluster {
  readonly servers: readonly NatsServer[]
  readonly url: string
  close(): Promise<void>
}

const scripts = (await import(pathToFileURL(join(root, 'scripts/cluster/servers.mjs')).href)) as {
  natsMissing(): string | undefined
  startServers(options: { size: number; folder: string; extra: string; jetstream: string }): Promise<NatsCluster>
  streamsOf<T>(
    url: string,
    work: (manager: JetStreamManager, connection: NatsConnection) => Promise<T>,
    options?: { readonly user?: string; readonly pass?: string; readonly timeout?: number },
  ): Promise<T>
}

/** Why there is no server here; `undefined` if there is one. */
export const natsMissing = scripts.natsMissing()

/** Does something with the streams behind Hermes' back. */
export const { streamsOf } = scripts

/** @param size 1, or 3 that form a cluster @param extra more lines of configuration @param jetstream more lines of its `jetstream` block */
export async function startNats(
  size: 1 | 3,
  extra = '',
  { folder = makeFolder(), jetstream = '' }: { readonly folder?: string; readonly jetstream?: string } = {},
): Promise<NatsCluster> {
  try {
    const cluster = await scripts.startServers({ size, folder, extra, jetstream })
    const close = async () => {
      await cluster.close()
      removeFolder(folder)
    }
    return { ...cluster, close }
  } catch (error) {
    removeFolder(folder)
    throw error
  }
}
