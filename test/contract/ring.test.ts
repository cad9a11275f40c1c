import { randomBytes } from 'node:crypto'
import { open } from '../../lib/index.js'
import { removeFolder } from '../helpers/folder.js'
import { cases } from './cases.js'
import { runContract, type Skip } from './placement.js'

const because = (reason: string, ...tests: string[]): Skip[] => tests.map((test) => ({ test, reason }))

/** What a ring can't do. test/ring/topic.test.ts checks that each of these is refused, and what holds instead. */
const skip: readonly Skip[] = [
  ...because(
    'a ring goes from one publisher to one subscriber',
    'goes on behind a message that can not be decoded',
    'stamps messages with the time of their publication',
    'interleaves publishers without loss, each in its own order',
    'gives every subscriber every message',
    'begins at the only place there is while the topic is empty',
    'ends a wait when its signal fires: spin',
    'ends a wait when its signal fires: yield',
    'ends a wait when its signal fires: park',
    'ends a wait when its signal fires: adaptive',
    'holds a topic to the settings that it was made with',
    'leaves the log as it was when raw payloads are changed',
  ),
  ...because(
    'what lives in memory can not be synced',
    'gives a receipt for each of many publishes under way: synced',
    'syncs when flush asks for it',
    'has synced everything when a synced publisher was closed',
    'resolves ready() where there is room',
    'ends waits for durability when their signal fires, and no others',
    'leaves no listener on a signal',
    'refuses work after close',
    'settles what is under way when a publisher is closed',
  ),
  ...because(
    'what was consumed is gone: no seek, no replay',
    'begins at a time',
    'delivers nothing to who waits for a time beyond the timestamps of the log',
    'begins where it is told to',
    'replays for a late subscriber, also when the publisher has gone',
    'seeks to anywhere between polls',
    'is where it was after a seek that failed',
    'seeks from within a handler',
    'seeks during an iteration',
    'wakes a waiting iteration when it is sent elsewhere',
    'ends iterations and waits when the subscriber is closed',
    'leaves the log as it was when what struct views give out is changed',
    'gives out no memory of the log',
    'gives codecs that were written elsewhere copies to work on',
    'answers with another message or an error when a view is kept',
  ),
  ...because(
    'a ring holds no more than its capacity, and this publishes more before it reads',
    'publishes batches of messages that are large for the segment',
    'begins with what is published from now on, unless told otherwise',
    'takes a payload of the limit and refuses one byte more: 16384',
    'takes a payload of the limit and refuses one byte more: 1048576',
    'goes through many of the smallest segments, with sizes of every kind',
    'fills segments to the last byte',
  ),
  ...because(
    'a ring keeps nothing, so it has no retention',
    'tells what is known of a topic',
    'keeps no more bytes than it is told to, and always the newest messages',
    'tells a subscriber that fell behind what the first message is that is left',
    'refuses to begin at what was removed, and tells the first message that is left',
    'removes messages when they are older than it is told to keep them',
    'takes another retention at any time',
  ),
]

runContract(
  {
    name: 'ring',
    async open() {
      const name = `test-${process.pid}-${randomBytes(4).toString('hex')}`
      const place = `ring:${name}`
      const hermes = await open(place)
      return {
        hermes,
        place,
        cleanup: async () => {
          await hermes.close()
          removeFolder(`/dev/shm/hermes.rings-${name}`)
        },
      }
    },
    skip,
  },
  cases,
)
