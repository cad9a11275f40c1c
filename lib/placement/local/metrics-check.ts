import { HermesError } from '../../base/errors.js'
import type { Directory } from '../../store/directory.js'
import { PlaceMetrics } from '../../store/place-metrics.js'
import type { Say } from './findings.js'

/** Whether the metrics of a directory can be read. Publishers and subscribers go on without them, so only who asks learns that nothing is counted. */
export async function checkMetrics(directory: Directory, say: Say): Promise<void> {
  const metrics = new PlaceMetrics(directory)
  try {
    await metrics.collect()
    say('ok', 'metrics', 'Metrics can be read.')
  } catch (error) {
    if (!(error instanceof HermesError)) throw error
    // (the text says what to do)
    say('problem', 'metrics', error.message, { details: { code: error.code } })
  } finally {
    metrics.close()
  }
}
