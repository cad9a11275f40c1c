// A subscriber to be killed: node kill-reader.js <place> <topic> <from>. Checks what it reads, and tells on stdout how far it is and what is wrong.
import { writeSync } from 'node:fs'
import { open } from '../client/open.js'
import { raw } from '../codec/raw.js'
import { readPayload } from './message.js'

const [place = '', topic = '', from = '1'] = process.argv.slice(2)
const hermes = await open(place)
const subscriber = await hermes
  .topic(topic, { codec: raw, create: false })
  .subscriber({ from: Number(from), wait: 'park' })
writeSync(1, 'open\n')
const last = new Map<number, number>()
let previous = Number(from) - 1
for await (const batch of subscriber.batches(1000)) {
  const faults: string[] = []
  for (const { value, sequence } of batch) {
    const id = readPayload(value)
    if (sequence <= previous) faults.push(`sequence ${sequence} after ${previous}`)
    if (id === undefined) faults.push(`sequence ${sequence} has a payload that was never published`)
    else if (id.number <= (last.get(id.writer) ?? -1))
      faults.push(`message ${id.number} of writer ${id.writer} after ${last.get(id.writer)}`)
    if (id !== undefined) last.set(id.writer, id.number)
    previous = sequence
  }
  try {
    writeSync(1, `${faults.map((fault) => `fault ${fault}\n`).join('')}at ${previous}\n`)
  } catch {
    // The pipe is full: the next line says more.
  }
}
