// What the suites in scripts/suites/ have in common.
//
// A suite exports `suite = { name, timeoutMinutes, run(context) }`. `run` resolves with
// `{ passed, failed, skipped, reason? }`. It may throw: a suite that crashes has failed, and one that found no test too.
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { need } from './apt.mjs'

/** Runs a suite. Resolves with undefined if this clone has none of its tests. Never rejects. */
export async function runSuite(suite, log) {
  const failed = (reason) => ({ passed: 0, failed: 1, skipped: 0, reason })
  const print = (line) => appendFileSync(log, `${line}\n`)
  try {
    if (suite.present !== undefined && !suite.present()) return undefined
    const result = await suite.run({ log, print, timeoutMs: suite.timeoutMinutes * 60_000 })
    return result.passed + result.failed + result.skipped > 0 ? result : failed('found no tests')
  } catch (error) {
    print(error.stack ?? String(error))
    return failed(String(error.message ?? error).split('\n')[0])
  }
}

/** The result of a suite that can't run here, with the reason and what to do about it. */
export function skip(reason) {
  return { passed: 0, failed: 0, skipped: 1, reason }
}

/** Makes sure of the named tools. Returns a skip result if they can't be had. */
export async function skipUnless(...names) {
  const missing = await need(...names)
  return missing === undefined ? undefined : skip(missing)
}

/**
 * Counts what a shell suite prints: a line `N passed, N failed, N skipped` of its own if it ends with one, else lines
 * that begin with `ok`, `not ok` and `skip`, one for each test.
 */
export function countLines({ output, code }) {
  const total = [...output.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1)
  const count = (pattern) => (output.match(pattern) ?? []).length
  const [passed, failed, skipped] = total
    ? total.slice(1).map(Number)
    : [count(/^ok\b/gm), count(/^not ok\b/gm), count(/^skip\b/gm)]
  return { passed, failed: code !== 0 && failed === 0 ? 1 : failed, skipped }
}

/** Counts a list of `{ name, fault }`, and prints it. */
export function countFaults(results, print) {
  for (const { name, fault } of results) print(fault === undefined ? `ok ${name}` : `not ok ${name}: ${fault}`)
  const failed = results.filter(({ fault }) => fault !== undefined).length
  return { passed: results.length - failed, failed, skipped: 0 }
}

/** The counts of two runs that make one suite. */
export function addCounts(one, other) {
  const reason = one.reason ?? other.reason
  return {
    passed: one.passed + other.passed,
    failed: one.failed + other.failed,
    skipped: one.skipped + other.skipped,
    ...(reason === undefined ? {} : { reason }),
  }
}

/** Counts a GoogleTest JSON report. A program that died before it wrote one counts as a failure. */
export function countGoogleTest(reportFile, { code }) {
  if (!existsSync(reportFile)) return { passed: 0, failed: 1, skipped: 0, reason: `the tests died (exit code ${code})` }
  const report = JSON.parse(readFileSync(reportFile, 'utf8'))
  const cases = report.testsuites.flatMap((testsuite) => testsuite.testsuite)
  const ran = cases.filter(({ status, result }) => status === 'RUN' && result !== 'SKIPPED')
  const failed = ran.filter(({ failures }) => failures !== undefined).length
  const result = { passed: ran.length - failed, failed, skipped: cases.length - ran.length }
  if (code !== 0 && failed === 0) result.failed = 1
  return result
}
