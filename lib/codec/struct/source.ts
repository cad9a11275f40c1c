/** Collects the functions and constants that the main code refers to. */
export class Source {
  readonly constants: unknown[] = []
  readonly functions: string[] = []
  #names = 0

  constant(value: unknown): string {
    const known = this.constants.indexOf(value)
    return `k${known >= 0 ? known : this.constants.push(value) - 1}`
  }

  name(prefix: string): string {
    return `${prefix}${this.#names++}`
  }
}

/** An address: `base` is an expression of the generated code. */
export function address(base: string, offset: number): string {
  return offset === 0 ? base : `${base} + ${offset}`
}
