import type { Command } from 'commander'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { counted } from '../words.js'
import { globalsOf, withHelp } from './common.js'
import { damageText } from './verify.js'

export function registerRepair(program: Command, session: Session): void {
  const command = program
    .command('repair')
    .summary('set damaged bytes of a topic aside')
    .description(
      'Recovers a whole topic, whatever is believed to be good. Damaged bytes are copied to quarantine/ and skipped from then on; nothing is deleted. The topic must have no publishers.',
    )
    .argument('<topic>')
    .option('--dry-run', 'change nothing: only say what would be set aside')
    .action(async (topic: string, options: { readonly dryRun?: boolean }) => {
      const { dir } = globalsOf(command)
      const report = await withPlace(dir, false, async (hermes) => {
        if (!(await hermes.topics()).includes(topic)) await needTopic(hermes, topic)
        return hermes.repair(topic, { dryRun: options.dryRun === true, signal: session.signal })
      })
      if (session.json) return session.out.line(JSON.stringify(report))
      const { dryRun, damage, recovery } = report
      const verb = dryRun ? 'would be set aside' : 'set aside'
      session.out.line(
        damage.length === 0 ? `${topic}: nothing to repair` : `${topic}: ${counted(damage.length, 'piece')} ${verb}`,
      )
      for (const one of damage) session.out.line(`  ${damageText(one)}`)
      if (recovery !== undefined) {
        session.note(
          `${counted(recovery.frames, 'message')} checked, ${counted(recovery.deadClaims, 'dead claim')} made void`,
        )
      }
    })
  withHelp(
    command,
    `
hermes repair quotes --dry-run
hermes repair quotes`,
  )
}
