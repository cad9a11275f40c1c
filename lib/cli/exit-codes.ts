/** Every exit code of `hermes`, and what it means. docs/cli.md and each `--help` print this table. */
export const exitMeanings = {
  0: 'done',
  1: 'failed for a reason that has no code of its own',
  2: 'wrong usage: a command, option, argument or name that is not allowed',
  3: 'there is no such topic, file or Hermes directory',
  4: 'access denied by the operating system',
  5: 'damaged data in the log',
  6: 'the disk is full',
  7: 'data that cannot be read or published: not valid for its codec, or too large',
  8: 'mismatch: the topic has another codec, layout, setting or format version',
  9: 'held or used by another process',
  10: 'the position asked for is not there: removed by retention, or not published yet',
  11: 'time over before what was asked for was reached, or an answer came',
  12: 'no connection to the broker, or it was lost for good',
  129: 'stopped by SIGHUP',
  130: 'interrupted (SIGINT, Ctrl-C)',
  143: 'terminated (SIGTERM)',
} as const

export type ExitCode = keyof typeof exitMeanings

/** The table as text: `  0  done`. */
export function exitTable(): string {
  return Object.entries(exitMeanings)
    .map(([code, meaning]) => `  ${code.padStart(3)}  ${meaning}`)
    .join('\n')
}
