import type { Handler } from '../client/handler.js'
import type { Format } from './format.js'
import { type Session, visible } from './session.js'
import { timestampText } from './text-format.js'

/** A handler that prints each message: its value, with its sequence and time if asked, or a JSON object. */
export function printer(session: Session, format: Format, meta: boolean): Handler<unknown> {
  const { out } = session
  if (session.json) {
    return (value, { sequence, timestampNs }) =>
      out.line(`{"sequence":${sequence},"timestampNs":"${timestampNs}","value":${format.json(value)}}`)
  }
  return (value, message) => {
    const line = format.line(value)
    const prefix = meta ? `${message.sequence}\t${timestampText(message.timestampNs)}\t` : ''
    if (out.isTerminal) {
      out.line(prefix + visible(typeof line === 'string' ? line : Buffer.from(line).toString('utf8')))
    } else if (typeof line === 'string') {
      out.line(prefix + line)
    } else {
      out.bytes(prefix === '' ? line : Buffer.concat([Buffer.from(prefix), line]))
    }
  }
}
