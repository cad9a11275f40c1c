import { make } from './dom.js'

export interface Column<Row> {
  readonly name: string
  readonly cell: (row: Row) => Node | string
  /** What it is sorted by. */
  readonly by: (row: Row) => number | string
  readonly kind?: (row: Row) => string
}

/** More rows than this are not drawn: the filter finds them. */
const mostRows = 200

/** A table that is sorted by the buttons of its head and filtered by name. */
export class Table<Row> {
  readonly element: HTMLElement
  readonly #columns: readonly Column<Row>[]
  readonly #body = make('tbody')
  readonly #note = make('p', { class: 'none' })
  readonly #heads: HTMLElement[]
  readonly #filter: HTMLInputElement | undefined
  readonly #none: string
  #rows: readonly Row[] = []
  #by: number
  #isDown: boolean

  constructor(
    title: string,
    columns: readonly Column<Row>[],
    options: { by?: number; none: string; filter?: boolean },
  ) {
    this.#columns = columns
    this.#none = options.none
    this.#by = options.by ?? 0
    this.#isDown = this.#by > 0
    this.#heads = columns.map(({ name }, index) =>
      make('th', { scope: 'col' }, make('button', { type: 'button', click: () => this.#sort(index) }, name)),
    )
    if (options.filter === true)
      this.#filter = make('input', {
        type: 'search',
        'aria-label': `Filter ${title} by name`,
        input: () => this.#draw(),
      })
    const label = this.#filter && make('label', {}, 'filter ', this.#filter)
    this.element = make(
      'section',
      { class: 'card', 'aria-label': title },
      make('div', { class: 'bar' }, make('h2', {}, title), ...(label === undefined ? [] : [label])),
      make(
        'div',
        { class: 'scroll' },
        make('table', {}, make('thead', {}, make('tr', {}, ...this.#heads)), this.#body),
      ),
      this.#note,
    )
    this.#draw()
  }

  set(rows: readonly Row[]): void {
    this.#rows = rows
    this.#draw()
  }

  #sort(index: number): void {
    this.#isDown = index === this.#by ? !this.#isDown : index > 0
    this.#by = index
    this.#draw()
  }

  #draw(): void {
    const column = this.#columns[this.#by] as Column<Row>
    const name = (row: Row) => String(this.#columns[0]?.by(row)).toLowerCase()
    const wanted = this.#filter?.value.toLowerCase() ?? ''
    const found = this.#rows.filter((row) => name(row).includes(wanted))
    const way = this.#isDown ? -1 : 1
    const compare = (a: number | string, b: number | string) => (a < b ? -1 : a > b ? 1 : 0)
    const sorted = [...found].sort((a, b) => way * compare(column.by(a), column.by(b)) || compare(name(a), name(b)))
    for (const [index, head] of this.#heads.entries()) {
      if (index === this.#by) head.setAttribute('aria-sort', this.#isDown ? 'descending' : 'ascending')
      else head.removeAttribute('aria-sort')
    }
    const draw = () =>
      this.#body.replaceChildren(
        ...sorted
          .slice(0, mostRows)
          .map((row) =>
            make(
              'tr',
              {},
              ...this.#columns.map(({ cell, kind }) => make('td', { class: kind?.(row) ?? '' }, cell(row))),
            ),
          ),
      )
    keepingFocus(this.#body, draw)
    this.#note.textContent =
      sorted.length > mostRows ? `${mostRows} of ${sorted.length}` : sorted.length === 0 ? this.#none : ''
    this.#note.hidden = this.#note.textContent === ''
  }
}

/** Who goes through the links by keyboard stays where they are when the rows are drawn anew. */
function keepingFocus(body: HTMLElement, draw: () => void): void {
  const { activeElement } = document
  const href = activeElement !== null && body.contains(activeElement) ? activeElement.getAttribute('href') : null
  draw()
  if (href === null) return
  for (const link of body.querySelectorAll('a')) if (link.getAttribute('href') === href) link.focus()
}
