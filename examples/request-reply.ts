// Requests to a service, and its replies. Here both sides share a process; they need not, and there may be any number of either.
// Takes a place as its argument: a directory, or a broker (tcp://127.0.0.1:9000). Without one, a temporary directory.
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HermesError, json, open } from 'hermes-mq'

const Numbers = json<readonly number[]>()
const Sum = json<number>()
const codecs = { request: Numbers, reply: Sum }

const given = process.argv[2]
const place = given ?? (await mkdtemp(join(tmpdir(), 'hermes-example-')))
try {
  await using hermes = await open(place)
  await hermes.responder(
    'sums',
    (numbers) => {
      if (numbers.length === 0) throw new RangeError('there is nothing to add')
      return numbers.reduce((sum, one) => sum + one, 0)
    },
    codecs,
  )
  const clients = [await hermes.requester('sums', codecs), await hermes.requester('sums', codecs)] as const

  const [client, other] = clients
  console.log('2 + 3 =', await client.request([2, 3]))
  const sums = await Promise.all([client.request([1, 1]), other.request([10, 20, 30]), other.request([4])])
  console.log('at once:', sums.join(', '))

  // What a handler throws comes out here. A request ends by its time-out or its signal, too.
  const reason = await client.request([], { timeoutMs: 10_000 }).catch((error: HermesError) => error)
  if (reason instanceof HermesError) console.log(`${reason.code}: ${String(reason.details['message'])}`)
} finally {
  if (given === undefined) await rm(place, { recursive: true })
}
console.log('both sides have ended')
