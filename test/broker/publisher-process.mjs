// Publishes numbers without end, and prints how many were acknowledged: node publisher-process.mjs <url> <name>.
import { open, text } from '../../dist/index.js'

const [url, name] = process.argv.slice(2)
const hermes = await open(url)
const publisher = await hermes.topic('t', { codec: text }).publisher()
for (let n = 0; ; n++) {
  publisher.publish(`${name}:${n}`)
  if (n % 50 === 49) {
    await publisher.flush()
    process.stdout.write(`${n + 1}\n`)
  }
}
