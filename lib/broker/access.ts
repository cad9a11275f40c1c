import { createHash, timingSafeEqual } from 'node:crypto'
import { HermesError } from '../base/errors.js'
import { checkBoolean, checkInteger, checkOptions, invalid, show } from '../base/options.js'

/** Access rights. An entry without `publish` and `subscribe` may do both on every topic. */
export interface AccessEntry {
  /** For the log. */
  readonly name: string
  /** What the client has to present: the token itself, or its SHA-256 in hexadecimal. */
  readonly token?: string
  readonly tokenSha256?: string
  /** Or: the common name in the client's certificate, where mutual TLS is in use. */
  readonly certificate?: string
  /** Topic names, in which `*` stands for any characters. */
  readonly publish?: readonly string[]
  readonly subscribe?: readonly string[]
  /**
   * Where it may join groups and take durable subscriptions: `topic`, for all of a topic's, or `topic/group`, with `*` as above. Others lose what it takes. An entry without `publish`,
   * `subscribe` and `consume` may do so everywhere; one with some of them only where `consume` says so.
   */
  readonly consume?: readonly string[]
  /** May make, alter and delete topics, and reset and delete groups: `hermes.admin`. Default false. */
  readonly administer?: boolean
  /** What it may have stored at a time, in bytes of frames, in all topics together. Retention makes room again. Default: any amount. */
  readonly maxBytes?: number
}

/** What one client may do. */
export interface Rights {
  readonly name: string
  readonly administer: boolean
  readonly maxBytes?: number | undefined
  mayPublish(topic: string): boolean
  maySubscribe(topic: string): boolean
  mayConsume(topic: string, group: string): boolean
}

const anything = () => true

/** Where authentication is not configured. */
const allRights: Rights = {
  name: 'anybody',
  administer: true,
  mayPublish: anything,
  maySubscribe: anything,
  mayConsume: anything,
}

interface Known {
  readonly digest: Buffer | undefined
  readonly certificate: string | undefined
  readonly rights: Rights
}

/** What a client has shown of itself. The token is kept as its digest only. */
export interface Credentials {
  /** Whether there was a token. */
  readonly hasToken: boolean
  readonly digest: Buffer
  readonly certificate: string | undefined
}

export function credentialsOf(token: string | undefined, certificate: string | undefined): Credentials {
  return { hasToken: token !== undefined, digest: sha256(token ?? ''), certificate }
}

export class Access {
  #known: readonly Known[]

  /** @throws HermesError `INVALID_ARGUMENT`, `UNKNOWN_OPTION` */
  constructor(entries: readonly AccessEntry[]) {
    this.#known = entries.map(toKnown)
  }

  /** From now on these entries hold. They are those of another `Access`, so that they were checked before. */
  become(other: Access): void {
    this.#known = other.#known
  }

  get isOpen(): boolean {
    return this.#known.length === 0
  }

  /**
   * Finds out who a client is. Takes the same time for every token.
   *
   * @throws HermesError `UNAUTHORIZED`
   */
  identify({ hasToken, digest, certificate }: Credentials): Rights {
    if (this.isOpen) return allRights
    let found: Rights | undefined
    for (const one of this.#known) {
      // Digests have equal lengths, so neither the length nor the position of the first difference shows in the time.
      const matches = one.digest !== undefined && timingSafeEqual(one.digest, digest)
      if (hasToken && matches) found ??= one.rights
      if (one.certificate !== undefined && one.certificate === certificate) found ??= one.rights
    }
    if (found !== undefined) return found
    throw new HermesError(
      'UNAUTHORIZED',
      !hasToken
        ? "This broker asks for a token: give it as the option 'token', to `hermes` as HERMES_TOKEN."
        : 'This broker does not know the token: give one of its access list.',
    )
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}

const entryOptions = [
  'name',
  'token',
  'tokenSha256',
  'certificate',
  'publish',
  'subscribe',
  'consume',
  'administer',
  'maxBytes',
]

function toKnown(entry: AccessEntry): Known {
  checkOptions('an access entry', entry, entryOptions)
  const { name, token, tokenSha256, certificate, publish, subscribe, consume, administer = false, maxBytes } = entry
  if (typeof name !== 'string' || name === '') throw invalid("An access entry needs a 'name'.")
  checkBoolean(`'administer' of '${name}'`, administer)
  if (maxBytes !== undefined) checkInteger(`'maxBytes' of '${name}'`, maxBytes, 1, Number.MAX_SAFE_INTEGER)
  if (token !== undefined && (typeof token !== 'string' || token.length < 16)) {
    throw invalid(`The token of '${name}' is shorter than 16 characters: it could be guessed.`)
  }
  if (tokenSha256 !== undefined && !/^[0-9a-f]{64}$/i.test(tokenSha256))
    throw invalid(`'tokenSha256' of '${name}' must be 64 hexadecimal digits.`)
  if (token === undefined && tokenSha256 === undefined && certificate === undefined) {
    throw invalid(`The access entry '${name}' needs a 'token', a 'tokenSha256' or a 'certificate'.`)
  }
  const digest =
    token !== undefined ? sha256(token) : tokenSha256 === undefined ? undefined : Buffer.from(tokenSha256, 'hex')
  for (const [option, patterns] of Object.entries({ publish, subscribe, consume }))
    if (patterns !== undefined && !Array.isArray(patterns))
      throw invalid(`'${option}' of '${name}' must be a list of patterns, as ["orders.*"], not ${show(patterns)}.`)
  const unlimited = publish === undefined && subscribe === undefined && consume === undefined
  const rights: Rights = {
    name,
    administer,
    maxBytes,
    mayPublish: unlimited ? anything : matcher(publish ?? []),
    maySubscribe: unlimited ? anything : matcher(subscribe ?? []),
    mayConsume: unlimited ? anything : groupMatcher(consume ?? []),
  }
  return { digest, certificate, rights }
}

/** A pattern without a group is for all groups of the topic. */
function groupMatcher(patterns: readonly string[]): (topic: string, group: string) => boolean {
  const pairs = patterns.map((pattern) => {
    const [topic, group = '*', ...rest] = String(pattern).split('/')
    if (rest.length > 0) throw invalid(`'${pattern}' is no pattern of groups: use 'topic' or 'topic/group'.`)
    return { ofTopic: matcher([topic as string]), ofGroup: matcher([group]) }
  })
  return (topic, group) => pairs.some(({ ofTopic, ofGroup }) => ofTopic(topic) && ofGroup(group))
}

function matcher(patterns: readonly string[]): (topic: string) => boolean {
  const expressions = patterns.map((pattern) => {
    if (typeof pattern !== 'string' || !/^[A-Za-z0-9._*-]+$/.test(pattern))
      throw invalid(`'${String(pattern)}' is no pattern of topic names.`)
    return new RegExp(`^${pattern.replaceAll('.', '\\.').replace(/\*+/g, '.*')}$`)
  })
  return (topic) => expressions.some((one) => one.test(topic))
}
