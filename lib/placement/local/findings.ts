import type { Severity } from '../../model/reports.js'

/** Adds a finding. */
export type Say = (
  severity: Severity,
  check: string,
  message: string,
  more?: { advice?: string; topic?: string; details?: Record<string, unknown> },
) => void
