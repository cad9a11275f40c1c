// VitePress's configuration. scripts/lib/site/build.mjs puts it beside the staged pages, with site.json and anchors.mjs.
import { readFileSync } from 'node:fs'
import { anchorOf } from './anchors.mjs'

const { base, version, guide, reference } = JSON.parse(readFileSync(new URL('site.json', import.meta.url), 'utf8'))

// biome-ignore lint/style/noDefaultExport: VitePress asks for it
export default {
  base,
  srcDir: 'src',
  outDir: 'html',
  title: 'Hermes',
  description: 'Typed publish/subscribe between the processes of one Linux machine, with a durable log',
  head: [['link', { rel: 'icon', type: 'image/svg+xml', href: `${base}icon.svg` }]],
  // Links to pages and headings that are not there fail the build.
  ignoreDeadLinks: false,
  markdown: { anchor: { slugify: anchorOf } },
  themeConfig: {
    logo: '/icon.svg',
    outline: [2, 3],
    search: { provider: 'local', options: { detailedView: true } },
    nav: [
      { text: 'Tutorial', link: '/tutorial' },
      { text: 'API', link: '/api' },
      { text: 'Reference', link: '/reference/' },
      { text: 'Examples', link: '/examples/' },
      { text: version, link: '/changelog' },
    ],
    sidebar: { '/': guide, '/reference/': reference },
  },
}
