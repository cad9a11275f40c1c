// Serves brokers on demand: each { op: 'serve' } gets one, of an empty directory of its own; { op: 'close', url } ends it. Ends with its parent.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serve } from '../../../dist/broker/index.js'

const open = new Map()

async function started() {
  const folder = mkdtempSync(join(tmpdir(), 'hermes-test-'))
  const broker = await serve({ dir: join(folder, 'data'), port: 0 })
  open.set(broker.url, { broker, folder })
  return { url: broker.url }
}

async function closed(url) {
  const { broker, folder } = open.get(url)
  open.delete(url)
  await broker.close()
  rmSync(folder, { recursive: true, force: true })
  return {}
}

process.on('message', async ({ call, op, url }) => {
  try {
    process.send({ call, ...(op === 'serve' ? await started() : await closed(url)) })
  } catch (error) {
    process.send({ call, failure: String(error) })
  }
})
process.on('disconnect', async () => {
  await Promise.allSettled([...open.keys()].map(closed))
  process.exit(0)
})
