import { MessageCursor, type MessageView } from './message.js'

/** Called by `poll` for each message. Both arguments are valid only until it returns. */
export type JobHandler<View> = (value: View, message: JobView) => void

export interface JobView extends MessageView {
  /** How often the message was delivered, this time included. */
  readonly deliveries: number
}

export class JobCursor extends MessageCursor implements JobView {
  deliveries = 0
}
