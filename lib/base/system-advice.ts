/** Of system errors that say better than the code what to do, by their name. */
const byName: Readonly<Record<string, string>> = {
  EMFILE: 'This process has as many files open as it may: close some, or raise the limit (`ulimit -n`).',
  ENFILE: 'The system has as many files open as it may: close some, or raise fs.file-max.',
}

/** Their numbers on Linux: the addon's errors have no names. */
const names: Readonly<Record<number, string>> = { 24: 'EMFILE', 23: 'ENFILE' }

/** What to do about an error of the system, from the addon or from Node, where the number of open files is the cause. */
export function systemAdvice(error: Error): string | undefined {
  const { code = '', errno } = error as NodeJS.ErrnoException
  // (Node has them negative, and others on other systems, but names too)
  return byName[code] ?? (errno === undefined ? undefined : byName[names[errno] ?? ''])
}
