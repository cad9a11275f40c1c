import { InvalidArgumentError } from 'commander'
import { isHostAndPort } from '../base/address.js'
import type { From } from '../model/topic.js'
import { isoTime } from './iso-time.js'

/*
 * How option and argument texts become values. What does not parse throws commander's InvalidArgumentError, which
 * names the option.
 */

export function integer(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (Number.isSafeInteger(value) && value >= least && value <= most) return value
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`
    throw new InvalidArgumentError(`Give an integer ${range}.`)
  }
}

/** Above 0, and not of such a size that a timer or a division goes astray. */
export function positive(text: string): number {
  const value = /^\d*\.?\d+(e\d+)?$/i.test(text) ? Number(text) : Number.NaN
  if (value > 0 && value <= 1e12) return value
  throw new InvalidArgumentError('Give a number above 0.')
}

const timeUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `1.5`, `1.5s`, `200ms`, `2m`, `1h`, `7d` in milliseconds. Seconds unless a unit stands there. */
export function duration(text: string): number {
  const [, number = '', unit = 's'] = /^(\d*\.?\d+)(ms|s|m|h|d)?$/.exec(text) ?? []
  const value = number === '' ? Number.NaN : Math.ceil(Number(number) * timeUnits[unit as keyof typeof timeUnits])
  if (value >= 1 && value <= Number.MAX_SAFE_INTEGER / 1_000_000) return value
  throw new InvalidArgumentError('Give a time such as 30s, 500ms, 2m, 1h or 7d; a bare number means seconds.')
}

/** What a timer of Node can wait for at most, in ms. */
const longestTimer = 2 ** 31 - 1

export function timerDuration(text: string): number {
  const value = duration(text)
  if (value <= longestTimer) return value
  throw new InvalidArgumentError('Give a time of at most 24 days.')
}

const sizeUnits = { k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 } as const

/** `4096`, `64k`, `100MiB`, `2G` in bytes. Units are powers of 1024. */
export function size(text: string): number {
  const [, number = '', unit] = /^(\d+)(?:([kmgt])(?:i?b)?|b)?$/i.exec(text) ?? []
  const factor = unit === undefined ? 1 : sizeUnits[unit.toLowerCase() as keyof typeof sizeUnits]
  const value = number === '' ? Number.NaN : Number(number) * factor
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw new InvalidArgumentError('Give a size such as 65536, 64KiB, 100MiB or 2GiB.')
}

/** What `segmentBytes` of a topic may be. */
export function segmentSize(text: string): number {
  const value = size(text)
  if (value % 4096 === 0 && value >= 65_536 && value <= 2 ** 30) return value
  throw new InvalidArgumentError('Give a multiple of 4KiB from 64KiB to 1GiB.')
}

/** What `maxPayloadBytes` of a topic may be: a quarter of its segments, whose size may be given elsewhere, is for the topic to check. */
export function payloadSize(text: string): number {
  const value = size(text)
  if (value <= 2 ** 28) return value
  throw new InvalidArgumentError('Give a size of at most 256MiB: a quarter of a segment.')
}

/** A broker's address. */
export function brokerUrl(text: string): string {
  if (/^(tcp|tls|nats):\/\/./i.test(text)) return text
  if (isHostAndPort(text)) throw new InvalidArgumentError(`Write tcp://${text}, or tls://${text} if it speaks TLS.`)
  throw new InvalidArgumentError(
    'Give tcp://host:port, tls://host:port or nats://host,host,host; a directory goes with --dir.',
  )
}

/** The address of an admin server: a URL, or `host:port`. */
export function adminUrl(text: string): string {
  const written = isHostAndPort(text) ? `http://${text}` : text
  const url = /^https?:\/\/[^/]/i.test(written) ? parsedUrl(written) : undefined
  if (url?.pathname === '/' && `${url.username}${url.password}${url.search}${url.hash}` === '') return url.origin
  throw new InvalidArgumentError(
    'Give http://host:port, https://host:port or host:port, as `hermes admin` prints it, and nothing more.',
  )
}

function parsedUrl(text: string): URL | undefined {
  try {
    return new URL(text)
  } catch {
    return undefined
  }
}

/** `earliest`, `latest`, a sequence, or an ISO 8601 date. */
export function from(text: string): From {
  if (text === 'earliest' || text === 'latest') return text
  if (/^\d+$/.test(text)) return integer(1)(text)
  const time = isoTime(text)
  if (time >= 0) return new Date(time)
  throw new InvalidArgumentError(
    "Give 'earliest', 'latest', a sequence such as 1200, or a date such as 2026-01-31T09:30:00Z.",
  )
}

/** Where to stop. */
export function until(text: string): 'latest' | number | Date {
  if (text === 'latest') return text
  if (/^\d+$/.test(text)) return integer(1)(text)
  const time = isoTime(text)
  if (time >= 0) return new Date(time)
  throw new InvalidArgumentError("Give 'latest', a sequence such as 1200, or a date such as 2026-01-31T09:30:00Z.")
}

/** `max`, or a factor above 0. */
export function speed(text: string): number {
  if (text === 'max') return Number.POSITIVE_INFINITY
  const value = /^\d*\.?\d+x?$/.test(text) ? Number.parseFloat(text) : Number.NaN
  if (value > 0 && value <= 1e9) return value
  throw new InvalidArgumentError("Give 'max', or how many times faster than recorded: 1, 10, 0.5.")
}

/** A list with commas: names that are not empty and not given twice. */
export function names(text: string): readonly string[] {
  const list = text.split(',').map((name) => name.trim())
  if (list.includes('')) throw new InvalidArgumentError('Give names with commas between them: bid,ask,size.')
  const twice = list.find((name, index) => list.indexOf(name) !== index)
  if (twice !== undefined) throw new InvalidArgumentError(`'${twice}' is there twice.`)
  return list
}
