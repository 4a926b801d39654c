/** As JSON has it. */
export type Cell = string | number | boolean | null | object

export interface TableColumn {
  readonly name: string
  /** Right-aligned. */
  readonly numeric: boolean
}

/** Longer cells are cut, so that one does not push all others off the screen. */
const MAX_CELL = 60

/**
 * Rows as an aligned table: numbers to the right, nulls empty, everything else as text.
 * Widths count characters, not terminal columns.
 */
export function formatTable(columns: readonly TableColumn[], rows: readonly (readonly Cell[])[]): string {
  const texts = rows.map((row) => columns.map((_, index) => formatCell(row[index]!)))
  const widths = columns.map(({ name }, index) =>
    texts.reduce((widest, row) => Math.max(widest, length(row[index]!)), length(name)),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, index) => pad(cell, widths[index]!, columns[index]!.numeric))
      .join('  ')
      .trimEnd()
  return [
    line(columns.map(({ name }) => name)),
    widths.map((width) => '─'.repeat(width)).join('  '),
    ...texts.map(line),
  ].join('\n')
}

function formatCell(cell: Cell): string {
  const text = cellText(cell)
  // A line break or an escape sequence in the data must not move the terminal's cursor.
  const plain = text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, '·')
  return length(plain) > MAX_CELL
    ? `${Array.from(plain)
        .slice(0, MAX_CELL - 1)
        .join('')}…`
    : plain
}

function cellText(cell: Cell): string {
  if (cell === null) return ''
  return typeof cell === 'object' ? JSON.stringify(cell) : String(cell)
}

function pad(text: string, width: number, right: boolean): string {
  const padding = ' '.repeat(width - length(text))
  return right ? padding + text : text + padding
}

function length(text: string): number {
  let characters = 0
  for (const _ of text) characters++
  return characters
}
