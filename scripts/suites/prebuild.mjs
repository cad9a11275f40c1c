// Builds the prebuilds again and compares bytes, where the compiler is or can be fetched.
import { checkBytes, checkFiles } from '../check-prebuild.mjs'
import { addCounts, countFaults, skip } from '../lib/suite.mjs'
import { ensureToolchain, toolchainFault } from '../lib/toolchain.mjs'

export const suite = {
  name: 'prebuild',
  timeoutMinutes: 15,
  async run({ log, print }) {
    const files = checkFiles()
    const counts = countFaults(files, print)
    const fault = files.find((file) => file.fault !== undefined)?.fault
    if (fault !== undefined) return { ...counts, reason: fault }
    if (toolchainFault() !== undefined) return addCounts(counts, skip(toolchainFault()))
    try {
      await ensureToolchain()
    } catch (error) {
      return addCounts(
        counts,
        skip(`the bytes are not compared, since the compiler can't be fetched: ${error.message.split('\n')[0]}`),
      )
    }
    return addCounts(counts, countFaults(await checkBytes({ log }), print))
  },
}
