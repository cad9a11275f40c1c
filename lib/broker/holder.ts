/** Whose a publisher is. */
export interface Holder {
  /** The name of the client's access entry. */
  readonly identity: string
  readonly address: string
}
