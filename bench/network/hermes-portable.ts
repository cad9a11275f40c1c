// The same roles in a process without the addon, as on a system that there is none for. The broker has it.
process.env['HERMES_NATIVE'] = 'none'

export const { roles } = await import('./hermes.js')
