// Requests on one topic, replies on another, matched by an id. Here both sides share a process; they need not.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HermesError, json, open, type Publisher, type Subscriber } from 'hermes-mq'

interface Request {
  readonly id: string
  readonly numbers: readonly number[]
}
interface Reply {
  readonly id: string
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

/**
 * Asks, and gives each reply to the one who waits for it. All clients read the same topic of replies, so an id has to be unique among all of them, in
 * every process: a random one for the client, and a number for the request.
 */
class Client {
  readonly #requests: Publisher<Request>
  readonly #waiting = new Map<string, (reply: Reply) => void>()
  readonly #name = randomUUID()
  #requestsMade = 0

  constructor(requests: Publisher<Request>) {
    this.#requests = requests
  }

  ask(numbers: readonly number[]): Promise<number> {
    const id = `${this.#name}/${++this.#requestsMade}`
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
  const service = serve(incoming, await replies.publisher())
  const answers = [await replies.subscriber(), await replies.subscriber()]
  const clients = [new Client(await requests.publisher()), new Client(await requests.publisher())] as const
  const listening = clients.map((client, index) => client.listen(answers[index] as Subscriber<Reply, Reply>))

  const [client, other] = clients
  console.log('2 + 3 =', await client.ask([2, 3]))
  const sums = await Promise.all([client.ask([1, 1]), other.ask([10, 20, 30]), client.ask([]), other.ask([4])])
  console.log('at once:', sums.join(', '))

  // An aborted wait is an error, a closed subscriber the end of the loop.
  stop.abort()
  await Promise.all(answers.map((one) => one.close()))
  await Promise.all([service, ...listening])
  console.log('both sides have ended')
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
