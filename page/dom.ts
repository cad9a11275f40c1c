type Child = Node | string
type Properties = Readonly<Record<string, string | (() => void)>>

/** An element. What comes from a topic gets in as text only. */
export function make<K extends keyof HTMLElementTagNameMap>(
  name: K,
  properties: Properties = {},
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name)
  for (const [key, value] of Object.entries(properties)) {
    if (typeof value === 'function') element.addEventListener(key, value)
    else element.setAttribute(key, value)
  }
  element.append(...children)
  return element
}

export function tile(label: string): { readonly element: HTMLElement; set(text: string, kind?: string): void } {
  const figure = make('b', {}, '–')
  return {
    element: make('div', { class: 'tile' }, make('span', {}, label), figure),
    set(text, kind = '') {
      if (figure.textContent !== text) figure.textContent = text
      if (figure.className !== kind) figure.className = kind
    },
  }
}
