import { type ErrorCode, HermesError } from '../base/errors.js'

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  EACCES: 'ACCESS_DENIED',
  EPERM: 'ACCESS_DENIED',
  EISDIR: 'INVALID_ARGUMENT',
}

/** Throws a HermesError for what reading a file that the user named failed with. */
export function fromFile(error: unknown, path: string): never {
  const system = (error as NodeJS.ErrnoException).code
  if (error instanceof HermesError || system === undefined) throw error
  const reason = system === 'EISDIR' ? 'it is a directory' : (error as Error).message
  throw new HermesError(codes[system] ?? 'IO_FAILED', `Can't read ${path}: ${reason}.`, {
    cause: error,
    details: { path, system },
  })
}
