import { isIPv6 } from 'node:net'
import { HermesError } from '../base/errors.js'
import type { Engine } from './engine/engine.js'

/** @throws HermesError `IO_FAILED` */
export async function listenOn(engine: Engine, host: string, port: number): Promise<void> {
  try {
    await engine.listen(host, port)
  } catch (error) {
    throw cannotListen(error as NodeJS.ErrnoException, shownAddress(host, port))
  }
}

/** What a server says that can't listen: why, and what to do. */
export function cannotListen(cause: NodeJS.ErrnoException, address: string): HermesError {
  const why = {
    EADDRINUSE: 'another program listens there. End it, or give another port (0: any that is free)',
    EADDRNOTAVAIL: 'this machine has no such address. Give one that it has as host, or 0.0.0.0 for all',
    ENOTFOUND: "there is no host of this name. Give an address, or a name that this machine's resolver knows",
    EACCES: 'this user may not use that port. Give one from 1024 on',
  }[cause.code ?? '']
  return new HermesError('IO_FAILED', `Can't listen on ${address}: ${why ?? cause.message}.`, {
    cause,
    details: { address, system: cause.code },
  })
}

export function shownAddress(address: string, port: number): string {
  return isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`
}
