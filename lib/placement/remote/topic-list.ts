import { protocolError } from '../../wire/packet.js'
import type { Link } from './link.js'
import { Request } from './request.js'

/** The names of all topics that the client may use. @throws HermesError what asking throws; `PROTOCOL` */
export async function listTopics(link: Link, signal?: AbortSignal): Promise<string[]> {
  const request = new Request(link, { op: 'topics' })
  await link.open(request, request.answered, 'its topics', () => request.isAsked, signal)
  const { topics } = request.reply
  if (!Array.isArray(topics) || !topics.every((one) => typeof one === 'string'))
    throw protocolError('The broker sent no list of topics.')
  return topics
}
