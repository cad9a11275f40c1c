// Anchors of headings, as GitHub gives them: the documents link to each other by these, on GitHub and in the site.

/** Punctuation goes, spaces become hyphens. */
export function anchorOf(heading) {
  const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
  return plain.replace(/[^\p{L}\p{N}\p{M}_ -]/gu, '').replaceAll(' ', '-')
}
