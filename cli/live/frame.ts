import { formatCount, formatElapsed } from '../output/format.ts'
import type { Colours } from './colours.ts'
import type { Progress } from './progress.ts'
import { amountOf, perSecond, shareOf, timeLeft, timeOf } from './words.ts'

export interface FrameOptions {
  /** `orders · run`. */
  readonly title: string
  readonly columns: number
  /** Of the terminal; one of them is the cursor's. */
  readonly rows: number
  readonly colours: Colours
}

/** Wider than this nothing is gained by it: the eye loses the line. */
const MOST_COLUMNS = 120
const LEAST_COLUMNS = 20

/** Of a view in a terminal of so many columns. */
export function widthOf(columns: number): number {
  return Math.max(LEAST_COLUMNS, Math.min(columns - 1, MOST_COLUMNS))
}

/** The view as lines: none wider than the terminal, fewer than it has rows. */
export function frameOf(progress: Progress, { title, columns, rows, colours }: FrameOptions): string[] {
  const width = widthOf(columns)
  const heading = spread(
    `${title} · ${formatElapsed(progress.elapsedMs)}`,
    `watermark ${timeOf(progress.watermarkMs)}`,
    width,
  )
  const lines = [
    colours.bold(heading),
    ...figureLines(progress, width, colours),
    ...leftLine(progress, width, colours),
    ...sourceLines(progress, width, colours),
    ...tableLines(progress, width, colours),
  ]
  const room = Math.max(1, rows - 1)
  if (lines.length <= room) return lines
  return [...lines.slice(0, room - 1), colours.dim(cut(`… ${lines.length - room + 1} more lines`, width))]
}

interface Figure {
  readonly label: string
  readonly value: string
  readonly alarms?: boolean
}

/** A row for each role, its figures under those of the others. */
function figureLines({ bridge, process, sink, lag }: Progress, width: number, colours: Colours): string[] {
  const rows: Figure[][] = []
  if (bridge !== null) {
    rows.push([
      { label: 'read', value: formatCount(bridge.read) },
      { label: '', value: perSecond(bridge.readPerSecond) },
      { label: 'invalid', value: formatCount(bridge.invalid), alarms: bridge.invalid > 0 },
      { label: 'waiting', value: formatCount(lag) },
    ])
  }
  if (process !== null) {
    rows.push([
      { label: 'processed', value: formatCount(process.processed) },
      { label: '', value: perSecond(process.processedPerSecond) },
      { label: 'late', value: formatCount(process.late), alarms: process.late > 0 },
      { label: 'windows', value: formatCount(process.closed) },
    ])
    rows.push([
      { label: 'tasks', value: formatCount(process.open) },
      { label: '', value: process.restoring > 0 ? `${process.restoring} restoring` : '' },
      { label: 'copies', value: formatCount(process.duplicates) },
      bridge === null
        ? { label: 'waiting', value: formatCount(lag) }
        : { label: 'refused', value: formatCount(process.refused), alarms: process.refused > 0 },
    ])
  }
  if (sink !== null) {
    rows.push([
      { label: 'written', value: formatCount(sink.rows) },
      { label: '', value: perSecond(sink.rowsPerSecond) },
      ...(bridge === null && process === null ? [{ label: 'waiting', value: formatCount(lag) }] : []),
    ])
  }
  return rows.map((row) => figureLine(row, width, colours))
}

const FIGURE_WIDTHS = [
  { label: 9, value: 13 },
  { label: 0, value: 13 },
  { label: 8, value: 9 },
  { label: 8, value: 9 },
] as const

function figureLine(figures: readonly Figure[], width: number, colours: Colours): string {
  let line = ''
  let used = 0
  for (const [i, { label, value, alarms = false }] of figures.entries()) {
    const widths = FIGURE_WIDTHS[i]!
    const text = value.padStart(widths.value)
    const space = 2 + widths.label + text.length
    if (used + space > width) break
    line += `  ${colours.dim(label.padEnd(widths.label))}${alarms ? colours.alarm(text) : text}`
    used += space
  }
  return line
}

function leftLine({ left }: Progress, width: number, colours: Colours): string[] {
  if (left === null) return []
  const words = [shareOf(left), amountOf(left), timeLeft(left)].filter((word) => word !== null).join('  ')
  const space = Math.min(40, width - words.length - 4)
  if (space < 5) return [cut(`  ${words}`, width)]
  const full = left.total === 0 ? space : Math.floor((space * Math.min(left.done, left.total)) / left.total)
  return [`  ${colours.good('━'.repeat(full))}${colours.dim('╌'.repeat(space - full))}  ${words}`]
}

export interface Column {
  readonly name: string
  readonly cells: readonly string[]
  /** Shown from this width of the view on. */
  readonly from: number
}

function sourceLines({ bridge, sources }: Progress, width: number, colours: Colours): string[] {
  const readsHere = bridge === null ? Infinity : 0
  return tableOf(
    { name: 'source', cells: sources.map(({ name }) => name) },
    [
      { name: 'read', cells: sources.map(({ read }) => formatCount(read)), from: Math.max(100, readsHere) },
      {
        name: 'read/s',
        cells: sources.map((s) => formatCount(s.readPerSecond)),
        from: Math.max(60, readsHere),
      },
      { name: 'invalid', cells: sources.map((s) => formatCount(s.invalid)), from: Math.max(100, readsHere) },
      { name: 'waiting', cells: sources.map(({ lag }) => formatCount(lag)), from: 0 },
      { name: 'watermark', cells: sources.map((s) => timeOf(s.watermarkMs)), from: 70 },
    ],
    width,
    colours,
  )
}

function tableLines({ tables }: Progress, width: number, colours: Colours): string[] {
  if (tables.length === 0) return []
  return tableOf(
    { name: 'table', cells: tables.map(({ name }) => name) },
    [
      { name: 'rows', cells: tables.map(({ written }) => formatCount(written)), from: 0 },
      { name: 'rows/s', cells: tables.map((t) => formatCount(t.writtenPerSecond)), from: 60 },
      { name: 'waiting', cells: tables.map(({ lag }) => formatCount(lag)), from: 60 },
    ],
    width,
    colours,
  )
}

/** The first column takes what the others leave. */
export function tableOf(
  first: Omit<Column, 'from'>,
  columns: readonly Column[],
  width: number,
  colours: Colours,
): string[] {
  const shown = columns.filter(({ from }) => width >= from - 1)
  const widths = shown.map(({ name, cells }) => Math.max(9, name.length, ...cells.map((c) => c.length)))
  const rest = width - 2 - widths.reduce((sum, w) => sum + w + 2, 0)
  const line = (head: string, cells: readonly string[]): string =>
    cut(
      `  ${cut(head, Math.max(8, rest)).padEnd(rest)}${cells.map((cell, i) => `  ${cell.padStart(widths[i]!)}`).join('')}`,
      width,
    )
  return [
    colours.dim(
      line(
        first.name,
        shown.map(({ name }) => name),
      ),
    ),
    ...first.cells.map((name, i) =>
      line(
        name,
        shown.map(({ cells }) => cells[i]!),
      ),
    ),
  ]
}

export function spread(left: string, right: string, width: number): string {
  const space = width - left.length - right.length
  return space < 2 ? cut(left, width) : left + ' '.repeat(space) + right
}

export function cut(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text
}
