import { type Command, Option } from 'commander'
import { type MetricsFormat, metricsFormats, metricsText } from '../../metrics/text.js'
import { withPlace } from '../place.js'
import type { Session } from '../session.js'
import { globalsOf, withHelp } from './common.js'

export function registerMetrics(program: Command, session: Session): void {
  const command = program
    .command('metrics')
    .summary('print what is counted in a directory')
    .description(
      'Prints all that is counted in --dir, by living and dead processes, as text for Prometheus; with --json as one object. ' +
        'It is read from files: no process is asked, and none needs to run. Of a cluster (--url nats://…), what its servers know of topics and groups.',
    )
    .addOption(new Option('--format <name>', 'which text').choices(metricsFormats).default('openmetrics'))
    .action(async ({ format }: { readonly format: MetricsFormat }) => {
      const { dir } = globalsOf(command)
      await withPlace(dir, false, async (hermes) => {
        const report = await hermes.metrics()
        const text = session.json ? JSON.stringify(report) : metricsText(report, format)
        session.out.line(text.replace(/\n$/, ''))
      })
    })
  withHelp(
    command,
    `
hermes metrics
hermes metrics --json | jq '.groups[] | {topic, name, lag}'
hermes metrics --format prometheus | promtool check metrics`,
  )
}
