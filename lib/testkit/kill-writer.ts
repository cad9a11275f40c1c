// A publisher to be killed: node kill-writer.js <place> <topic> <writer> <seed>. Tells on stdout what it is about to publish, and what was
// acknowledged; each line is out before the next step is taken.
import { writeSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { open } from '../client/open.js'
import { raw } from '../codec/raw.js'
import { makePayload } from './message.js'
import { Random } from './random.js'

const [place = '', topic = '', writerText = '', seedText = ''] = process.argv.slice(2)
const writer = Number(writerText)
const random = new Random(Number(seedText))

function tell(line: string): void {
  const bytes = Buffer.from(`${line}\n`)
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(1, bytes, at)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') process.exit(0)
    }
  }
}

const hermes = await open(place)
const publisher = await hermes.topic(topic, { codec: raw, create: false }).publisher()
tell('open')
for (let number = 0; ; ) {
  const count = 1 + random.below(150)
  const payloads = Array.from({ length: count }, (_, index) =>
    makePayload({ writer, number: number + index }, 16 + random.below(200)),
  )
  tell(`attempt ${number + count}`)
  let roomy = true
  if (random.chance(0.3)) roomy = publisher.publishBatch(payloads)
  else for (const payload of payloads) roomy = publisher.publish(payload) && roomy
  number += count
  tell(`written ${number}`)
  if (!roomy) await publisher.ready()
  if (random.chance(0.1)) {
    await publisher.flush('synced')
    tell(`synced ${number}`)
  }
  await sleep(random.below(20))
}
