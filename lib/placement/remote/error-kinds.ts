/** The broker, or the topic there, is just going away: the same question may be answered a moment later, by a successor. */
export const passingCodes: readonly string[] = ['CLOSED']

/** After these there is no sense in connecting again. */
export const finalCodes: readonly string[] = ['UNAUTHORIZED', 'VERSION_MISMATCH']

/** One side sent what the other does not understand, or can't carry. */
export const faultCodes: readonly string[] = ['PROTOCOL', 'LIMIT']
