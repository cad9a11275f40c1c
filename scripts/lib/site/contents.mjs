// The pages of the site, in the order of its menu, and which file of the repository each is.

/** Documents by their name in docs/. A document that is missing here fails the build. */
export const chapters = [
  ['Begin', ['tutorial', 'choosing', 'coming-from', 'request-reply', 'groups', 'cluster', 'administration']],
  ['Look up', ['api', 'codecs', 'cli', 'errors', 'mmap', 'testkit']],
  ['Run', ['operations', 'tuning', 'metrics', 'opentelemetry', 'platforms', 'guarantees', 'benchmarks']],
  ['Inside', ['architecture', 'log-format', 'wire-protocol', 'ring-layout', 'group-format', 'metrics-format']],
]

/** Documents outside of docs/, and their pages. */
export const others = {
  'README.md': 'readme',
  'CONTRIBUTING.md': 'contributing',
  'CHANGELOG.md': 'changelog',
  'clients/python/README.md': 'python',
}

/** Files to copy from, which documents link to: each is a section of the page `files`. */
export const files = [
  'Dockerfile',
  'compose.yaml',
  'packaging/systemd/hermes.service',
  'packaging/prometheus/hermes-alerts.yml',
  'packaging/grafana/hermes.json',
  'LICENSE',
]

/** Folders that documents link to. */
export const folders = {
  'docs/decisions': 'decisions/index',
  examples: 'examples/index',
  'clients/python': 'python',
}
