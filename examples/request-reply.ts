// Requests on one topic, replies on another, matched by an id. Here both sides share a process; they need not.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HermesError, json, open, type Publisher, type Subscriber } from 'hermes-mq'

interface Request {
  readonly id: number
  readonly numbers: readonly number[]
}
interface Reply {
  readonly id: number
  readonly sum: number
}
const Requests = json<Request>()
const Replies = json<Reply>()

/** Answers until the signal of `requests` fires. */
async function serve(requests: Subscriber<Request, Request>, replies: Publisher<Reply>): Promise<void> {
  try {
    for await (const { value } of requests) {
      replies.publish({ id: value.id, sum: value.numbers.reduce((sum, one) => sum + one, 0) })
    }
  } catch (error) {
    if (!(error instanceof HermesError) || error.code !== 'ABORTED') throw error
  }
}

/** Asks, and gives each reply to the one who waits for it. */
class Client {
  readonly #requests: Publisher<Request>
  readonly #waiting = new Map<number, (reply: Reply) => void>()
  #lastId = 0

  constructor(requests: Publisher<Request>) {
    this.#requests = requests
  }

  ask(numbers: readonly number[]): Promise<number> {
    const id = ++this.#lastId
    return new Promise((resolve) => {
      this.#waiting.set(id, (reply) => resolve(reply.sum))
      this.#requests.publish({ id, numbers })
    })
  }

  async listen(replies: Subscriber<Reply, Reply>): Promise<void> {
    for await (const { value } of replies) {
      this.#waiting.get(value.id)?.(value)
      this.#waiting.delete(value.id)
    }
  }
}

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
const stop = new AbortController()
try {
  await using hermes = await open(place)
  const requests = hermes.topic('requests', { codec: Requests })
  const replies = hermes.topic('replies', { codec: Replies })

  // Subscribers come first: by default they begin with what is published after them.
  const incoming = await requests.subscriber({ signal: stop.signal })
  const answers = await replies.subscriber()
  const service = serve(incoming, await replies.publisher())
  const client = new Client(await requests.publisher())
  const listening = client.listen(answers)

  console.log('2 + 3 =', await client.ask([2, 3]))
  const sums = await Promise.all([client.ask([1, 1]), client.ask([10, 20, 30]), client.ask([])])
  console.log('at once:', sums.join(', '))

  // An aborted wait is an error, a closed subscriber the end of the loop.
  stop.abort()
  await answers.close()
  await Promise.all([service, listening])
  console.log('both sides have ended')
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
