import { type ErrorCode, HermesError } from '../base/errors.js'

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  EACCES: 'ACCESS_DENIED',
  EPERM: 'ACCESS_DENIED',
  EISDIR: 'INVALID_ARGUMENT',
}

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file',
  ENOTDIR: 'a part of the path is no directory',
  EACCES: 'this user may not read it',
  EPERM: 'this user may not read it',
  EISDIR: 'it is a directory',
}

/** Throws a HermesError for what reading a file that the user named failed with. */
export function fromFile(error: unknown, path: string): never {
  const system = (error as NodeJS.ErrnoException).code
  if (error instanceof HermesError || system === undefined) throw error
  const reason = reasons[system] ?? (error as Error).message
  throw new HermesError(codes[system] ?? 'IO_FAILED', `Can't read ${path}: ${reason}.`, {
    cause: error,
    details: { path, system },
  })
}
