// What the site changes in a document: comments for the tests go, and links lead to pages of the site.

/** Applies `change` to what is no block of code. */
function outsideOfCode(text, change) {
  return text
    .split(/^((?:```|~~~)[^\n]*\n[\s\S]*?^(?:```|~~~)[^\n]*$)/m)
    .map((part, index) => (index % 2 === 1 ? part : change(part)))
    .join('')
}

/** Comments say how a test runs the block below them. One may have a block of code in it, so they go first. */
function withoutComments(text) {
  const lines = []
  let [isCode, isComment] = [false, false]
  for (const line of text.split('\n')) {
    if (!isComment && /^(```|~~~)/.test(line)) isCode = !isCode
    if (!isCode && line.startsWith('<!--')) isComment = true
    if (!isComment) lines.push(line)
    else if (line.endsWith('-->')) isComment = false
  }
  return lines.join('\n')
}

/** `linkOf(target)` says where a link to a file leads in the site. Links to other hosts, and within the page, stay. */
export function forSite(text, linkOf) {
  return outsideOfCode(withoutComments(text), (prose) =>
    prose.replace(/`[^`\n]*`|\]\(([^)\s]+)\)/g, (whole, target) =>
      target === undefined || /^([a-z][a-z0-9+.-]*:|#)/i.test(target) ? whole : `](${linkOf(target)})`,
    ),
  )
}
