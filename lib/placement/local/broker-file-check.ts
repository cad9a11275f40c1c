import { join } from 'node:path'
import { type Directory, readMarked, topicFolder } from '../../store/directory.js'
import type { Say } from './findings.js'

/* What a broker keeps beside the topics. Without these files it goes on and remembers less; damaged, it refuses publishers. */

const quotas = {
  name: 'quotas.json',
  format: 'hermes-quotas',
  advice: 'without it, what was stored so far is not counted',
}
const producers = {
  name: 'producers.json',
  format: 'hermes-producers',
  advice: 'without it, messages that publishers send again after a crash may be stored twice',
}

async function checkOne(
  folder: string,
  { name, format, advice }: typeof quotas,
  say: Say,
  topic?: string,
): Promise<void> {
  try {
    await readMarked(join(folder, name), format)
  } catch (error) {
    say('problem', 'broker-files', `A broker can't serve publishers: ${(error as Error).message}`, {
      advice: `Stop the broker and remove the file: ${advice}.`,
      ...(topic === undefined ? {} : { topic }),
    })
  }
}

/** Whether a broker could read its own files. They are whole if they are what they say: written under another name, and renamed. */
export async function checkBrokerFiles(directory: Directory, topics: readonly string[], say: Say): Promise<void> {
  await checkOne(directory.path, quotas, say)
  for (const topic of topics) await checkOne(topicFolder(directory, topic), producers, say, topic)
}
