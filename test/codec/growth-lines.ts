import * as f from '../../lib/codec/struct/field.js'
import type { Random } from '../../lib/testkit/random.js'
import { type AnyStruct, fieldOf, fixedType, structOf } from './struct-fuzz.js'

/** A struct that has grown once or more, and what it has grown from, from the oldest on. */
export function lineOf(random: Random): AnyStruct[] {
  const line = [structOf(random, 2, false)]
  for (let step = 1 + random.below(3); step > 0; step--) {
    const last = line.at(-1) as AnyStruct
    const fields: { [name: string]: f.DefaultField } = {}
    for (let n = random.below(4); n >= 0; n--) {
      const type = fixedType(random, 1)
      const layout = f.layoutOf(type, 'growth')
      fields[`s${line.length}_${n}`] = f.withDefault(type, fieldOf(layout as never, random) as never) as f.DefaultField
    }
    line.push(last.extend(fields) as unknown as AnyStruct)
  }
  return line
}
