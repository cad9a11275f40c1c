/**
 * Asks, and asks once more after each `everyMs` while there is no answer; what comes first is taken. For questions that change nothing: of those that reach a group of servers without a leader, some
 * are never answered, and who waits for one of them waits for its whole time though there is a leader by now.
 *
 * @returns the first answer; a failure is one, too. So it takes no longer than the first question may
 */
export async function askedAgain<T>(ask: () => Promise<T>, everyMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  try {
    return await new Promise<T>((resolve, reject) => {
      const once = () => {
        ask().then(resolve, reject)
      }
      once()
      timer = setInterval(once, everyMs)
    })
  } finally {
    clearInterval(timer)
  }
}
