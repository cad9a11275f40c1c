import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import type { Hermes } from '../../client/hermes.js'
import type { BackupReport } from '../../model/reports.js'
import { byArgument, needTopic, withPlace } from '../place.js'
import { Progress } from '../progress.js'
import type { Session } from '../session.js'
import { counted, grouped, secondsText } from '../text-format.js'
import { withHelp } from './common.js'
import { damageText } from './verify.js'

interface BackupCommandOptions {
  readonly topic?: readonly string[]
}

export function registerBackup(program: Command, session: Session): void {
  const command = program
    .command('backup')
    .summary('copy topics to another directory while they are in use')
    .description(
      'Copies a place, or some of its topics, to a directory that does not exist yet. Publishers and subscribers go on meanwhile. Each topic is copied up to ' +
        'one sequence, checked and synced; the directory gets its name when all of it is there. To restore, open the copy, or replace the original with it. ' +
        'Damage that the place had already makes the exit code 5; the backup is there all the same.',
    )
    .argument('<place>', 'a directory, or shm:name')
    .argument('<to>', 'a directory that does not exist yet, or is empty')
    .option(
      '-t, --topic <name>',
      'only this topic; may be given several times',
      (name: string, given?: readonly string[]) => [...(given ?? []), name],
    )
    .action(async (place: string, to: string, { topic: topics }: BackupCommandOptions) => {
      let progress: Progress | undefined
      let report: BackupReport
      try {
        const work = async (hermes: Hermes) => {
          const there = topics === undefined ? [] : await hermes.topics()
          for (const topic of topics ?? []) if (!there.includes(topic)) await needTopic(hermes, topic)
          return hermes.backup(to, {
            ...(topics === undefined ? {} : { topics }),
            signal: session.signal,
            onProgress: ({ topics, totalTopics, copiedBytes, totalBytes }) => {
              progress ??= new Progress(session, totalTopics)
              progress.show(
                topics + Math.min(1, copiedBytes / Math.max(1, totalBytes)),
                `${grouped(Math.round(copiedBytes / 1e6))} MB`,
              )
            },
          })
        }
        report = await withPlace(place, false, work, {}, byArgument)
      } catch (error) {
        if (session.stopping && error instanceof HermesError && error.code === 'ABORTED') return
        throw error
      } finally {
        progress?.clear()
      }
      print(session, report)
      const damaged = report.topics.filter(({ damage }) => damage.length > 0)
      if (damaged.length === 0) return
      throw new HermesError(
        'CORRUPT',
        `The backup is there, but ${counted(damaged.length, 'topic')} of ${place} had damage already, which was set aside in the backup. ` +
          '`hermes repair <topic>` does the same in the place once its publishers are closed.',
        { details: { damaged: damaged.map(({ topic }) => topic) } },
      )
    })
  withHelp(
    command,
    `
hermes backup ./hermes-data /backup/hermes-2026-01-31
hermes backup ./hermes-data /backup/trades --topic trades --topic quotes
hermes backup shm:market ./market-now --json`,
  )
}

function print(session: Session, report: BackupReport): void {
  const { out } = session
  if (session.json) return out.line(JSON.stringify(report))
  for (const { topic, firstSequence, nextSequence, unfinished, damage } of report.topics) {
    const what =
      nextSequence === firstSequence
        ? 'no messages'
        : nextSequence === firstSequence + 1
          ? `sequence ${grouped(firstSequence)}`
          : `sequences ${grouped(firstSequence)} to ${grouped(nextSequence - 1)}`
    out.line(`${topic}: ${what}${unfinished === 0 ? '' : `; ${counted(unfinished, 'unfinished message')} made void`}`)
    for (const one of damage) out.line(`  ${damageText(one)}`)
  }
  session.note(`${counted(report.topics.length, 'topic')} in ${report.to}, in ${secondsText(report.seconds * 1000)}`)
}
