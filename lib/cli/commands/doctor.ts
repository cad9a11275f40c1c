import type { Command } from 'commander'
import type { Finding } from '../../model/reports.js'
import { withPlace } from '../place.js'
import { type Session, visible } from '../session.js'
import { globalsOf, withHelp } from './common.js'

const marks = { ok: 'ok', info: 'note', warning: 'WARNING', problem: 'PROBLEM' } as const

export function registerDoctor(program: Command, session: Session): void {
  const command = program
    .command('doctor')
    .summary('find problems, and say what to do')
    .description(
      'Looks at the place and the machine: which processes have the topics open, dead publishers, disk room, limits, kernel features. Says what to do about each. A problem makes the exit code 1.',
    )
    .action(async () => {
      const { dir } = globalsOf(command)
      const report = await withPlace(dir, false, (hermes) => hermes.doctor())
      if (session.json) session.out.line(JSON.stringify(report))
      else for (const finding of report.findings) print(session, finding)
      if (report.severity !== 'problem') return
      const count = report.findings.filter(({ severity }) => severity === 'problem').length
      throw new Error(`${count} of ${report.findings.length} checks found a problem.`)
    })
  withHelp(
    command,
    `
hermes doctor
hermes doctor --json | jq '.findings[] | select(.severity != "ok")'`,
  )
}

function print(session: Session, { severity, topic, message, advice }: Finding): void {
  const mark = severity === 'ok' || severity === 'info' ? marks[severity] : session.bold(marks[severity])
  session.out.line(visible(`${mark}: ${topic === undefined ? '' : `${topic}: `}${message}`))
  if (advice !== undefined) session.out.line(`    ${advice}`)
}
