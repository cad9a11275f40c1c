/** The version of this package. `npm version` rewrites it, and a test holds it against package.json. */
export const version = '0.1.0'
