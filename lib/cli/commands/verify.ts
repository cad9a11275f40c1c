import type { Command } from 'commander'
import { type ErrorCode, HermesError } from '../../base/errors.js'
import type { Damage } from '../../index.js'
import type { VerifyReport } from '../../model/reports.js'
import { integer } from '../arguments.js'
import { needTopic, withPlace } from '../place.js'
import { Progress } from '../progress.js'
import type { Session } from '../session.js'
import { bytesText, counted, grouped, secondsText } from '../text-format.js'
import { globalsOf, withHelp } from './common.js'

/** Failures that are one topic's. */
const ofTopic: readonly ErrorCode[] = ['CORRUPT', 'NOT_HERMES', 'VERSION_MISMATCH', 'ACCESS_DENIED', 'NOT_A_DIRECTORY']

export function registerVerify(program: Command, session: Session): void {
  const command = program
    .command('verify')
    .summary('check every message of topics')
    .description(
      'Reads topics from end to end and checks lengths, sequences and CRCs. Changes nothing; publishers may go on meanwhile. Without names, all topics. Damage makes the exit code 5.',
    )
    .argument('[topic...]')
    .option(
      '--concurrency <n>',
      'segments that are read at the same time (default: the cores, 4 at most)',
      integer(1, 64),
    )
    .action(async (named: readonly string[], options: { readonly concurrency?: number }) => {
      const { dir } = globalsOf(command)
      await withPlace(dir, false, async (hermes) => {
        const topics = named.length > 0 ? named : await hermes.topics()
        let damaged = 0
        for (const topic of topics) {
          if (session.stopping) return
          // A topic of another name may have been meant.
          if (!(await hermes.topics()).includes(topic)) await needTopic(hermes, topic)
          let progress: Progress | undefined
          try {
            const report = await hermes.verify(topic, {
              signal: session.signal,
              ...options,
              onProgress: ({ segments, totalSegments, messages }) => {
                progress ??= new Progress(session, totalSegments)
                progress.update(segments, messages)
              },
            })
            progress?.clear()
            print(session, report)
            if (report.damage.length > 0) damaged++
          } catch (error) {
            progress?.clear()
            if (session.stopping && error instanceof HermesError && error.code === 'ABORTED') return
            if (!(error instanceof HermesError) || !ofTopic.includes(error.code)) throw error
            // One that can't be read does not keep us from the others.
            damaged++
            const { code, message } = error
            session.out.line(
              session.json
                ? JSON.stringify({ topic, error: { code, message } })
                : `${topic}: ${session.bold('DAMAGED')}: ${message}`,
            )
          }
        }
        if (damaged === 0) return
        const advice =
          'Close their publishers and subscribers, then run `hermes repair <topic>`, which sets the damage aside; or restore a backup.'
        throw new HermesError('CORRUPT', `${counted(damaged, 'topic')} of ${topics.length} damaged. ${advice}`, {
          details: { damaged },
        })
      })
    })
  withHelp(
    command,
    `
hermes verify
hermes verify quotes trades
hermes verify quotes --json | jq .damage`,
  )
}

function print(session: Session, report: VerifyReport): void {
  const { out } = session
  if (session.json) return out.line(JSON.stringify(report))
  const { topic, messages, voids, bytes, segments, unfinished, damage, seconds } = report
  const rate = seconds > 0 ? `, ${(bytes / seconds / 1e9).toFixed(2)} GB/s` : ''
  const verdict = damage.length === 0 ? 'good' : 'DAMAGED'
  const extra = [
    ...(voids === 0 ? [] : [`${grouped(voids)} void`]),
    ...(unfinished === 0 ? [] : [counted(unfinished, 'unfinished message')]),
  ]
  const counts = [counted(messages, 'message'), ...extra, `${bytesText(bytes)} in ${counted(segments, 'segment')}`]
  out.line(`${topic}: ${session.bold(verdict)}: ${counts.join(', ')}; ${secondsText(seconds * 1000)}${rate}`)
  for (const one of damage) out.line(`  ${damageText(one)}`)
}

/** `segment 3, offset 4096: 128 bytes, sequences 17 to 18: the bytes are not a valid frame` */
export function damageText({ segment, offset, bytes, firstSequence, count, reason, file }: Damage): string {
  const where = segment === 0 ? 'control file' : `segment ${segment}, offset ${offset}`
  const last = firstSequence + count - 1
  const lost =
    count === 0 ? '' : count === 1 ? `, sequence ${firstSequence}` : `, sequences ${firstSequence} to ${last}`
  return `${where}: ${grouped(bytes)} bytes${lost}: ${reason}${file === '' ? '' : ` → ${file}`}`
}
