import { codecCase } from './codecs.case.js'
import { definitionCase } from './definition.case.js'
import { durableCase } from './durable.case.js'
import { endingCase } from './ending.case.js'
import { groupsCase } from './groups.case.js'
import { limitsCase } from './limits.case.js'
import type { Case } from './placement.js'
import { positionCase } from './position.case.js'
import { programsCase } from './programs.case.js'
import { publishCase } from './publish.case.js'
import { receiveCase } from './receive.case.js'
import { refusalCase } from './refusal.case.js'
import { retentionCase } from './retention.case.js'
import { viewCase } from './views.case.js'
import { waitCase } from './wait.case.js'

/** The whole contract, by chapter. */
export const cases: Readonly<Record<string, Case>> = {
  codecs: codecCase,
  publishing: publishCase,
  receiving: receiveCase,
  positions: positionCase,
  waiting: waitCase,
  ending: endingCase,
  limits: limitsCase,
  definition: definitionCase,
  programs: programsCase,
  retention: retentionCase,
  refusals: refusalCase,
  views: viewCase,
  groups: groupsCase,
  'durable subscriptions': durableCase,
}
