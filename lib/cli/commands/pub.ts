import type { Command } from 'commander'
import { integer } from '../arguments.js'
import { at, checkFirst, Feed, feeding } from '../feed.js'
import { type Format, type FormatOptions, publishFormat } from '../format.js'
import { lineText } from '../json-text.js'
import { linesOf } from '../lines.js'
import { Pacer } from '../pace.js'
import { findTopic } from '../place.js'
import { PublishingPlace } from '../publishing.js'
import type { Session } from '../session.js'
import { rateText } from '../text-format.js'
import {
  codecOption,
  encodingOption,
  globalsOf,
  type PublishOptions,
  topicSettings,
  withHelp,
  withPublishing,
} from './common.js'

interface PubOptions extends PublishOptions, FormatOptions {
  readonly batch: number
}

export function registerPub(program: Command, session: Session): void {
  const command = program
    .command('pub')
    .summary('publish values from arguments or stdin')
    .description(
      'Publishes values: the arguments, or else the lines of stdin, one value per line. The first publication makes the topic. ' +
        'Values of text topics are the lines as they are; of json, msgpack and struct topics, JSON, which a json topic keeps as it is written; empty lines are passed over there. With --json, lines as `sub --json` prints them are copied.',
    )
    .argument('<topic>')
    .argument('[values...]', 'with --count, they are repeated as often as needed')
    .addOption(codecOption("how values become bytes (default: the topic's own; text for a new topic)"))
    .option('-s, --schema <file>', 'the layout of a new struct topic: a file, or JSON such as {"price":"f64"}')
    .addOption(encodingOption())
    .option(
      '-b, --batch <n>',
      'publish so many at once: they become visible together, up to 256 of them',
      integer(1, 65_536),
      1,
    )
  withPublishing(command).action(async (topic: string, values: string[], options: PubOptions) => {
    const { dir } = globalsOf(command)
    await PublishingPlace.with(session, dir, async (hermes, place) => {
      const info = await findTopic(hermes, topic, { signal: session.signal })
      const format = await publishFormat(options, info, 'text')
      const settings = { codec: format.codec, ...topicSettings(options, info) }
      const copies = session.json && values.length === 0
      // An argument that can't be published leaves no topic behind.
      const [first] = info === undefined && values.length > 0 ? fromArguments(values, 1) : []
      if (first !== undefined && !(first.content.length === 0 && format.skipsBlank))
        checkFirst(
          format.codec,
          parsedAt(format, first.content, first.origin, copies),
          first.origin,
          options.maxPayload,
        )
      const publisher = await hermes.topic(topic, settings).publisher({
        durability: options.durability,
        exclusive: options.exclusive === true,
        signal: session.signal,
      })
      place.publisher = publisher
      const { signal } = session
      const feed = new Feed(publisher, options.batch, signal)
      const begun = performance.now()
      const { count = Number.POSITIVE_INFINITY, rate } = options
      const pacer = new Pacer(signal)
      let given = 0
      const source = values.length > 0 ? fromArguments(values, options.count) : fromStdin(session)
      await feeding(session, feed, async () => {
        for await (const { content, origin } of source) {
          if (signal.aborted) return
          if (content.length === 0 && format.skipsBlank) continue
          if (rate !== undefined && pacer.early((given * 1000) / rate)) {
            await feed.flush()
            await pacer.until((given * 1000) / rate)
            if (signal.aborted) return
          }
          const pause = feed.add(parsedAt(format, content, origin, copies), origin)
          if (pause !== undefined) await pause
          if (++given === count) return
        }
      })
      await place.finish(publisher)
      const ms = performance.now() - begun
      const { lastSequence } = publisher
      if (session.json) {
        const { name } = format.codec
        const summary = {
          topic,
          codec: name,
          durability: options.durability,
          published: feed.published,
          lastSequence,
          ms,
        }
        session.out.line(JSON.stringify(summary))
      } else {
        session.note(`published ${rateText(feed.published, ms)}, ${options.durability}, to ${topic}`)
      }
    })
  })
  withHelp(
    command,
    `
hermes pub greetings hello 'good morning'
hermes pub orders --codec json '{"id":1,"side":"buy"}'
tail -f access.log | hermes pub access --batch 100
hermes pub quotes --codec struct --schema '{"bid":"f64","ask":"f64"}' '{"bid":10.5,"ask":10.7}'
hermes pub beat tick --count 60 --rate 1
hermes sub ledger --json --from earliest --end | hermes pub copy --json --codec text
hermes pub ledger --durability synced < entries.txt`,
  )
}

/** A line of `hermes sub --json`. Nothing is parsed: numbers of any size stay what they are. */
const printed = /^\{"sequence":\d+,"timestampNs":"\d+","value":([\s\S]*)\}$/

/** @param copies whether what `sub --json` prints is the message that it tells of */
function parsedAt(format: Format, content: Buffer, origin: string, copies: boolean): unknown {
  try {
    const value = copies ? printed.exec(content.toString('utf8'))?.[1] : undefined
    if (value !== undefined) {
      lineText(content)
      return format.parseJson(value)
    }
    return format.parse(content)
  } catch (error) {
    throw at(origin, error)
  }
}

interface Given {
  readonly content: Buffer
  readonly origin: string
}

function* fromArguments(values: readonly string[], count: number | undefined): Generator<Given> {
  const contents = values.map((value) => Buffer.from(value))
  const total = count ?? values.length
  for (let i = 0; i < total; i++) {
    const index = i % values.length
    yield { content: contents[index] as Buffer, origin: `argument ${index + 1}` }
  }
}

async function* fromStdin(session: Session): AsyncGenerator<Given> {
  const { stdin } = session.streams
  if (stdin.isTTY) session.note('Reading values from the terminal, one per line. Ctrl-D ends.')
  for await (const group of linesOf(stdin, session.signal)) {
    for (const { content, number } of group) yield { content, origin: `line ${number}` }
  }
}
