import { isIP } from 'node:net'
import { invalid } from './options.js'

/** `127.0.0.1:9464`, `[::1]:9464`, `9464`. @throws HermesError `INVALID_ARGUMENT` */
export function listenAddress(text: string): { host: string; port: number } {
  const [, bracketed, plain, port = ''] = /^(?:\[([^\]]*)\]:|([^:]*):)?(\d{1,5})$/.exec(text) ?? []
  const host = bracketed ?? plain ?? '127.0.0.1'
  if (port === '' || Number(port) > 65_535 || host === '' || (bracketed !== undefined && isIP(bracketed) !== 6))
    throw invalid(`'${text}' is no address to listen on: write host:port, as 127.0.0.1:9464.`)
  return { host, port: Number(port) }
}
