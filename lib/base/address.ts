/**
 * Whether a text is written as `host:port`, as addresses are: `localhost:9000`, `10.0.0.5:9000`, `[::1]:9000`. A file may have such a name, but is hardly
 * ever meant.
 */
export function isHostAndPort(text: string): boolean {
  return /^(\[[0-9a-f:.]+\]|[a-z0-9]([a-z0-9._-]*[a-z0-9])?):\d{1,5}$/i.test(text)
}
