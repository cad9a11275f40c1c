// What scripts say: plain lines, no colour unless a terminal reads them.
const tty = process.stdout.isTTY === true && process.env.NO_COLOR === undefined
const paint = (code, text) => (tty ? `\u001b[${code}m${text}\u001b[0m` : text)

export const bold = (text) => paint(1, text)
export const red = (text) => paint(31, text)
export const green = (text) => paint(32, text)
export const yellow = (text) => paint(33, text)

export function say(text) {
  console.log(`hermes: ${text}`)
}

/** Ends the script with a message that says what to do. */
export function fail(text) {
  console.error(`${red('hermes: error:')} ${text}`)
  process.exit(1)
}

export function seconds(sinceMs) {
  return `${((Date.now() - sinceMs) / 1000).toFixed(1)} s`
}

/** Runs `work`, and says how long it took. */
export async function timed(what, work) {
  const start = Date.now()
  say(`${what} …`)
  const result = await work()
  say(`${what}: done in ${seconds(start)}`)
  return result
}
