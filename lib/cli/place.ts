import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { WaitOptions } from '../base/abort.js'
import { HermesError } from '../base/errors.js'
import { likely } from '../base/options.js'
import type { Hermes } from '../client/hermes.js'
import type { TopicInfo } from '../model/topic.js'
import type { ClientTls, TcpOptions } from '../placement/remote/options.js'
import { fromFile } from './file.js'

/** How often a place is looked at for a topic that is awaited, in ms. */
const lookMs = 50
/** The same for a broker, which others ask, too. */
const brokerLookMs = 200
/** A place that is just being made is an empty directory for a moment: for this many looks, that is no failure. */
const youngLooks = 20

export function isBroker(place: string): boolean {
  return /^(tcp|tls|wss?):/i.test(place)
}

export function isCluster(place: string): boolean {
  return /^nats:/i.test(place)
}

/** Elsewhere: by a network. */
export function isRemote(place: string): boolean {
  return isBroker(place) || isCluster(place)
}

/** How a place is given, for the error that there is none: by an option, or as an argument. */
const byOption = '`hermes pub` makes it; if the topics are elsewhere, give --dir or HERMES_DIR.'
export const byArgument = 'Give the directory that the topics are in.'

/** For commands that work on the files of a directory. @throws HermesError `UNSUPPORTED` */
export function requireDirectory(
  place: string,
  command: string,
  instead: { readonly broker: string; readonly cluster: string },
): void {
  if (!isRemote(place)) return
  const why = isBroker(place) ? instead.broker : instead.cluster
  throw new HermesError('UNSUPPORTED', `hermes ${command} is for a directory (--dir). ${why}`, { details: { place } })
}

/** @param create whether a directory that does not exist is made */
export async function openPlace(
  place: string,
  create: boolean,
  options: TcpOptions = {},
  elsewhere = byOption,
): Promise<Hermes> {
  if (isCluster(place)) return openCluster(place, options)
  if (!isBroker(place)) return openLocal(place, create, elsewhere)
  const token = process.env['HERMES_TOKEN']
  const tls = /^(tls|wss):/i.test(place) ? tlsFiles() : {}
  // (Loaded when it is needed: pages of help and completion need nothing of it.)
  const { open } = await import('../client/open.js')
  return open(place, { ...(token ? { token } : {}), ...(Object.keys(tls).length > 0 ? { tls } : {}), ...options })
}

/** Who it is says the address, HERMES_CREDENTIALS, or HERMES_TOKEN. */
async function openCluster(place: string, options: TcpOptions): Promise<Hermes> {
  const { HERMES_CREDENTIALS: file, HERMES_TOKEN: token } = process.env
  const tls = tlsFiles()
  const { open } = await import('../client/open.js')
  return open(place, {
    ...(file ? { credentials: readText(file) } : token && !place.includes('@') ? { token } : {}),
    ...(Object.keys(tls).length > 0 ? { tls } : {}),
    ...options,
  })
}

async function openLocal(place: string, create: boolean, elsewhere: string): Promise<Hermes> {
  try {
    const { open } = await import('../client/open.js')
    return await open(place, { create })
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'NOT_FOUND' || error.details['path'] === undefined)
      throw error
    const { details, cause } = error
    const message = `There is no directory ${details['path']}. ${elsewhere}`
    throw new HermesError('NOT_FOUND', message, { details, cause })
  }
}

/** What the environment has for `tls:` brokers and clusters. */
function tlsFiles(): ClientTls {
  const { HERMES_TLS_CA, HERMES_TLS_CERT, HERMES_TLS_KEY } = process.env
  const files = Object.entries({ ca: HERMES_TLS_CA, cert: HERMES_TLS_CERT, key: HERMES_TLS_KEY })
  return Object.fromEntries(files.flatMap(([name, file]) => (file ? [[name, readText(file)]] : [])))
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    return fromFile(error, file)
  }
}

/** Opens the place, runs `work`, and closes everything that was opened in it. */
export async function withPlace<T>(
  dir: string,
  create: boolean,
  work: (hermes: Hermes) => Promise<T>,
  options: TcpOptions = {},
  elsewhere = byOption,
): Promise<T> {
  const hermes = await openPlace(dir, create, options, elsewhere)
  let result: T
  try {
    result = await work(hermes)
  } catch (error) {
    // What went wrong first is what the user needs to know.
    await hermes.close().catch(() => undefined)
    throw error
  }
  await hermes.close()
  return result
}

/** What is known of a topic, `undefined` if there is none of this name. */
export async function findTopic(
  hermes: Hermes,
  name: string,
  options: WaitOptions = {},
): Promise<TopicInfo | undefined> {
  try {
    return await hermes.info(name, options)
  } catch (error) {
    if (error instanceof HermesError && error.code === 'NOT_FOUND') return undefined
    throw error
  }
}

/** As `hermes.info`; `NOT_FOUND` names the topic that was likely meant. */
export async function needTopic(hermes: Hermes, name: string): Promise<TopicInfo> {
  const info = await findTopic(hermes, name)
  if (info !== undefined) return info
  const meant = likely(name, await hermes.topics())
  const hint = meant === undefined ? '`hermes topics` lists those that exist.' : `Did you mean '${meant}'?`
  throw new HermesError('NOT_FOUND', `There is no topic '${name}' in ${hermes.place}. ${hint}`, {
    details: { topic: name, place: hermes.place, ...(meant === undefined ? {} : { likely: meant }) },
  })
}

/** Waits until the place and the topic exist. False if `signal` fires first. */
export async function awaitTopic(dir: string, name: string, signal: AbortSignal): Promise<boolean> {
  if (isRemote(dir)) return withPlace(dir, false, (hermes) => awaitThrough(hermes, name, signal))
  let unmarked = 0
  while (!signal.aborted) {
    try {
      const found = await withPlace(dir, false, (hermes) => findTopic(hermes, name))
      if (found !== undefined) return true
    } catch (error) {
      const code = error instanceof HermesError ? error.code : undefined
      if (code !== 'NOT_FOUND' && !(code === 'NOT_HERMES' && ++unmarked <= youngLooks)) throw error
    }
    await sleep(lookMs, undefined, { signal }).catch(() => undefined)
  }
  return false
}

/** Asks a broker over one connection: a new one for each look would be many. */
async function awaitThrough(hermes: Hermes, name: string, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if ((await findTopic(hermes, name)) !== undefined) return true
    await sleep(brokerLookMs, undefined, { signal }).catch(() => undefined)
  }
  return false
}
