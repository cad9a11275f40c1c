import { Command, CommanderError, Option } from 'commander'
import { HermesError } from '../base/errors.js'
import { version } from '../base/version.js'
import { brokerUrl } from './arguments.js'
import { registerAdmin } from './commands/admin.js'
import { registerBackup } from './commands/backup.js'
import { registerBattle } from './commands/battle.js'
import { registerBench } from './commands/bench.js'
import { defaultDir, type GlobalOptions, withHelp } from './commands/common.js'
import { registerCompletion } from './commands/completion.js'
import { registerDoctor } from './commands/doctor.js'
import { registerGroups } from './commands/groups.js'
import { commandOf, registerHelp } from './commands/help.js'
import { registerInfo } from './commands/info.js'
import { registerLead } from './commands/lead.js'
import { registerMetrics } from './commands/metrics.js'
import { registerMirror } from './commands/mirror.js'
import { registerPing } from './commands/ping.js'
import { registerPub } from './commands/pub.js'
import { registerRepair } from './commands/repair.js'
import { registerReplay } from './commands/replay.js'
import { registerSchema } from './commands/schema.js'
import { registerServe } from './commands/serve.js'
import { registerSub } from './commands/sub.js'
import { registerTail } from './commands/tail.js'
import { registerTop } from './commands/top.js'
import { registerTopics } from './commands/topics.js'
import { registerVerify } from './commands/verify.js'
import { exitCodeOf, stopSignals } from './exit.js'
import type { ExitCode } from './exit-codes.js'
import { Session, type Streams } from './session.js'

/** Every command, in the order of the help page. A new one is one more line here. */
const commands = [
  registerPub,
  registerSub,
  registerTail,
  registerTopics,
  registerGroups,
  registerInfo,
  registerSchema,
  registerTop,
  registerMetrics,
  registerReplay,
  registerVerify,
  registerRepair,
  registerDoctor,
  registerBackup,
  registerMirror,
  registerLead,
  registerServe,
  registerAdmin,
  registerPing,
  registerBench,
  registerBattle,
  registerCompletion,
  registerHelp,
]

/** Runs `hermes` with these arguments and returns its exit code. Never throws. */
export async function run(args: readonly string[], streams: Streams): Promise<ExitCode> {
  const session = new Session(streams)
  try {
    const program = makeProgram(session)
    const failure = await attempt(() => program.parseAsync([...args], { from: 'user' }))
    // Also after a failure: what was read before it is data.
    const unwritten = await attempt(() => session.out.end())
    const error = failure ?? unwritten
    if (error instanceof CommanderError) return usageExit(session, error, args, program)
    if (error !== undefined) {
      session.fail(error)
      return exitCodeOf(error)
    }
    if (session.stoppedBy !== undefined) return stopSignals[session.stoppedBy]
    return (session.childExit ?? 0) as ExitCode
  } finally {
    session.dispose()
  }
}

async function attempt(work: () => Promise<unknown>): Promise<unknown> {
  try {
    await work()
    return undefined
  } catch (error) {
    return error ?? new Error('failed without a reason')
  }
}

export function makeProgram(session: Session): Command {
  const { stdout, stderr } = session.streams
  const program = new Command('hermes')
  program
    .description('Typed publish/subscribe over a memory-mapped log.')
    .version(version, '-V, --version', 'print the version')
    .option(
      '-d, --dir <place>',
      'where the topics are: a directory, or shm:name in shared memory; HERMES_DIR in the environment does the same',
      // (An empty variable is none.)
      session.streams.env['HERMES_DIR'] || defaultDir,
    )
    .addOption(
      new Option(
        '-u, --url <url>',
        'a broker or a cluster in place of --dir: tcp://host:port, tls://host:port or nats://host,host,host; its token is HERMES_TOKEN',
      )
        .argParser(brokerUrl)
        .conflicts('dir'),
    )
    .option('-j, --json', 'print JSON for programs: one object, or one per line', false)
    .option('-q, --quiet', 'print no summaries and notes on stderr', false)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      // usageExit prints it.
      outputError: () => {},
    })
    .hook('preAction', (_, command) => {
      const { json, quiet } = command.optsWithGlobals<GlobalOptions>()
      session.json = json
      session.quiet = quiet
    })
  for (const register of commands) register(program, session)
  withHelp(
    program,
    `
hermes pub greetings hello
hermes sub greetings --from earliest
hermes replay quotes.csv quotes --columns ask,askSize,bid,bidSize --speed max
hermes info quotes
hermes help replay`,
  )
  program.addHelpText(
    'after',
    `
Environment:
  HERMES_DIR    where the topics are, unless --dir says it
  HERMES_TOKEN  what a broker is told (--url), or asks for (serve)
  HERMES_TLS_CA, HERMES_TLS_CERT, HERMES_TLS_KEY
                PEM files for tls: brokers and for clusters: their authority; a client certificate and its key
  HERMES_CREDENTIALS
                a .creds file for nats: clusters
  HERMES_DEBUG  print stack traces of failures
  NO_COLOR      print no colours

Data goes to stdout; everything else to stderr.`,
  )
  return program
}

/** Commander has printed help and version itself; its complaints are printed here, as other failures are. */
function usageExit(session: Session, error: CommanderError, args: readonly string[], program: Command): ExitCode {
  if (error.exitCode === 0) return 0
  if (error.code === 'commander.help') return 2
  session.json = args.includes('--json') || args.includes('-j')
  const unknown = error.code === 'commander.excessArguments' ? unknownSubcommand(args, program) : undefined
  if (unknown !== undefined) {
    session.fail(unknown)
    return 2
  }
  const message = error.message.replace(/^error: /, '').replace('\n(Did you mean', ' (Did you mean')
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`.replace(/([^.)?])$/, '$1.')
  const code = error.code === 'commander.unknownOption' ? 'UNKNOWN_OPTION' : 'INVALID_ARGUMENT'
  const page = ['hermes', ...namesIn(args, program), '--help'].join(' ')
  session.fail(new HermesError(code, `${text} See \`${page}\`.`))
  return 2
}

/** What a command that has subcommands, and does something without one too, takes for an argument too many. */
function unknownSubcommand(args: readonly string[], program: Command): unknown {
  let command = program
  for (const name of namesIn(args, program)) command = commandOf(command, name)
  const [name] = command.args
  if (command.commands.length === 0 || name === undefined) return undefined
  try {
    commandOf(command, name)
    return undefined
  } catch (error) {
    return error
  }
}

/** The command that was meant, from the outermost name on: `topics`, or `schema`, `check`. */
function namesIn(args: readonly string[], parent: Command): string[] {
  const found = parent.commands.find((one) => args.includes(one.name()))
  return found === undefined ? [] : [found.name(), ...namesIn(args.slice(args.indexOf(found.name()) + 1), found)]
}
