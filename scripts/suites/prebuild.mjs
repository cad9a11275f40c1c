import { checkPrebuilds } from '../check-prebuild.mjs'
import { countFaults } from '../lib/suite.mjs'

export const suite = {
  name: 'prebuild',
  timeoutMinutes: 2,
  run: async ({ print }) => countFaults(checkPrebuilds(), print),
}
