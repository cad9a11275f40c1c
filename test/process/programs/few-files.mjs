// Opens things when the process has no file left that it may open, and reports what each says: { dir }.
import { closeSync, openSync } from 'node:fs'
import { json, open } from '../../../dist/index.js'
import { options, report } from './common.mjs'

const { dir } = options
const hermes = await open(dir)
const topic = hermes.topic('t', { codec: json() })
await (await topic.publisher()).close()

const held = []
try {
  for (;;) held.push(openSync('/dev/null'))
} catch (error) {
  if (error.code !== 'EMFILE') throw error
}
const messages = []
for (const attempt of [() => open(dir), () => open(`${dir}-other`), () => hermes.topics(), () => topic.publisher()]) {
  try {
    await attempt()
    messages.push({ code: 'none', message: 'it worked' })
  } catch ({ code, message }) {
    messages.push({ code, message })
  }
}
for (const file of held) closeSync(file)
report('refused', { messages })
await hermes.close()
