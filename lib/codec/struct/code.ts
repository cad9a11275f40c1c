import type { Region } from '../codec.js'

/** Makes views of one struct and points them at payloads. The class itself stays out of users' reach. */
export interface ViewBinder {
  create(): object
  bind(view: object, region: Region, offset: number, length: number): void
}

/** The working parts of a struct codec, generated or interpreted. */
export interface StructCode extends ViewBinder {
  encode(value: unknown, target: Region, offset: number, limit: number): number
  decode(source: Region, offset: number, length: number): Record<string, unknown>
}
