import type { Command } from 'commander'
import { HermesError } from '../../base/errors.js'
import { type FormatOptions, publishFormat } from '../format.js'
import { needTopic, withPlace } from '../place.js'
import type { Session } from '../session.js'
import { counted } from '../text-format.js'
import { codecOption, globalsOf, withHelp } from './common.js'
import { damageText } from './verify.js'

interface RepairCommandOptions extends FormatOptions {
  readonly dryRun?: boolean
}

export function registerRepair(program: Command, session: Session): void {
  const command = program
    .command('repair')
    .summary('set damaged bytes of a topic aside')
    .description(
      'Recovers a whole topic, whatever is believed to be good. Damaged bytes are copied to quarantine/ and skipped from then on; nothing is deleted. The topic must have no publishers.',
    )
    .argument('<topic>')
    .option('--dry-run', 'change nothing: only say what would be set aside')
    .addOption(codecOption('what the messages are, if the file topic.json is lost: it is made anew'))
    .option('-s, --schema <file>', 'the layout of a struct topic whose topic.json is lost: a file, or JSON')
    .action(async (topic: string, options: RepairCommandOptions) => {
      const { dir } = globalsOf(command)
      const report = await withPlace(dir, false, async (hermes) => {
        const named = options.codec !== undefined || options.schema !== undefined
        const codec = named ? (await publishFormat(options, undefined, 'json')).codec : undefined
        try {
          return await hermes.repair(topic, {
            dryRun: options.dryRun === true,
            signal: session.signal,
            ...(codec === undefined ? {} : { codec }),
          })
        } catch (error) {
          // A topic of another name may have been meant.
          if (error instanceof HermesError && error.code === 'NOT_FOUND') await needTopic(hermes, topic)
          throw error
        }
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
