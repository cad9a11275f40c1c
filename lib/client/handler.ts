import { refusePromise } from '../base/handler.js'
import type { MessageView } from './message.js'

/**
 * Called by `poll` for each message. Both arguments are valid only until it returns.
 *
 * @typeParam View what the codec's reader hands out: for struct codecs a view that reads straight from the log
 */
export type Handler<View> = (value: View, message: MessageView) => void

/**
 * Calls a handler from a place where V8 has seen several. Else it would inline a program's only handler into `poll`, where little is
 * left of its budget for inlining: the reads of fields beyond it become calls, and each number that they return an object on the heap. A handler
 * compiled by itself has the whole budget. The call costs 3 ns; a handler that reads eight fields is a third faster.
 */
export function deliver<View>(handler: Handler<View>, value: View, message: MessageView): void {
  const answer: unknown = handler(value, message)
  if (typeof answer === 'object') refusePromise('poll()', answer)
}

function noteSeveralHandlers(): void {
  const first: Handler<unknown> = () => {}
  const second: Handler<unknown> = () => {}
  const message = { sequence: 0, timestampNs: 0n, payloadBytes: 0, copyPayload: () => new Uint8Array(0) }
  // V8 begins to note what it sees after about a hundred calls.
  for (let call = 0; call < 512; call++) deliver(call % 2 === 0 ? first : second, undefined, message)
}
noteSeveralHandlers()
