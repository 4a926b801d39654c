/** Charts as text. */
import plot from 'simple-ascii-chart'
import { formatNumber, formatTime } from './format.ts'
import type { Bar, BarChart, Chart, Point, SeriesChart } from './choose.ts'

export interface TerminalOptions {
  /** Columns that there are. */
  readonly width: number
  readonly color: boolean
}

const SERIES_ROWS = 12
const MOST_BARS = 40
const LEAST_PLOT = 20
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']
const CYAN = '\u001b[36m'
const RESET = '\u001b[0m'

/** The chart's lines, none of them wider than asked for. */
export function drawChart(chart: Chart, options: TerminalOptions): string {
  const panels = chart.kind === 'series' ? seriesPanels(chart, options) : barPanels(chart, options)
  return panels.join('\n\n')
}

function seriesPanels({ by, panels }: SeriesChart, options: TerminalOptions): string[] {
  return panels.map(({ title, points }) => {
    const head = `${title} by ${by} (UTC)`
    return points.length === 0 ? `${head}\n(no values)` : `${head}\n${series(points, options)}`
  })
}

function series(all: readonly Point[], { width, color }: TerminalOptions): string {
  const points = all.map(([ms, value]): [number, number] => [ms, drawable(value)])
  const values = points.map(([, value]) => value)
  const ticks = niceTicks(Math.min(...values), Math.max(...values))
  const labelWidth = Math.max(...ticks.map((tick) => formatNumber(tick).length))
  const room = Math.max(LEAST_PLOT, width - labelWidth - 2)
  const [from, to] = [points[0]![0], points.at(-1)![0]]
  const format = (ms: number): string => formatTime(ms, to - from)
  const text = plot(points, {
    width: room,
    height: SERIES_ROWS,
    yRange: [ticks[0]!, ticks.at(-1)!],
    customYAxisTicks: ticks,
    // The line below says the times: as ticks they would run into each other.
    hideXAxisTicks: true,
    // The library makes room for the values' own texts, of which none is shown.
    formatter: (value, { axis }) =>
      axis === 'y' ? formatNumber(value).padStart(labelWidth).slice(0, labelWidth) : '',
    ...(color && { color: 'ansiCyan' as const }),
  })
  const lines = text.split('\n').map((line) => line.trimEnd())
  const body = lines.filter((line) => line !== '' && !line.endsWith('▲'))
  const times = [format(from), from === to ? '' : format((from + to) / 2), from === to ? '' : format(to)]
  return [...body, spread(times, width)].join('\n')
}

/** At the ends of what a number can be, ranges and their parts would not be numbers any more. */
function drawable(value: number): number {
  return Math.abs(value) < 1e-290 ? 0 : Math.max(-1e300, Math.min(1e300, value))
}

/** Three texts over a line: left, in the middle, right. */
function spread([left = '', middle = '', right = '']: readonly string[], width: number): string {
  const gap = width - left.length - middle.length - right.length
  if (gap < 4) return `${left} … ${right}`.trimEnd()
  const before = Math.floor(gap / 2)
  return `${left}${' '.repeat(before)}${middle}${' '.repeat(gap - before)}${right}`.trimEnd()
}

function barPanels({ by, panels }: BarChart, options: TerminalOptions): string[] {
  return panels.map(({ title, bars }) => {
    const shown = bars.slice(0, MOST_BARS)
    const rest = bars.length - shown.length
    const more = rest === 0 ? '' : `\n… and ${rest} more`
    return `${title} by ${by}\n${barLines(shown, options).join('\n')}${more}`
  })
}

function barLines(bars: readonly Bar[], { width, color }: TerminalOptions): string[] {
  const values = bars.map(({ value }) => formatNumber(value))
  const valueWidth = Math.max(0, ...values.map((value) => value.length))
  const labelWidth = Math.min(
    Math.floor(width / 3),
    Math.max(0, ...bars.map(({ label }) => Array.from(label).length)),
  )
  const room = Math.max(1, width - labelWidth - valueWidth - 4)
  const greatest = Math.max(0, ...bars.map(({ value }) => Math.abs(value)))
  return bars.map(({ label, value }, i) => {
    const bar = value < 0 ? hatch(-value, greatest, room) : block(value, greatest, room)
    const painted = color && bar !== '' ? `${CYAN}${bar}${RESET}` : bar
    return `${cut(label, labelWidth)}  ${values[i]!.padStart(valueWidth)}  ${painted}`.trimEnd()
  })
}

function block(value: number, greatest: number, room: number): string {
  const eighths = greatest === 0 ? 0 : Math.round((value / greatest) * room * 8)
  return '█'.repeat(eighths >> 3) + EIGHTHS[eighths & 7]!
}

/** Below zero: as long, and not as dense. */
function hatch(size: number, greatest: number, room: number): string {
  return '░'.repeat(Math.round((size / greatest) * room))
}

function cut(label: string, width: number): string {
  const signs = Array.from(label.replaceAll(/\p{Cc}/gu, ' '))
  return signs.length <= width
    ? signs.join('') + ' '.repeat(width - signs.length)
    : `${signs.slice(0, width - 1).join('')}…`
}

/** Four to seven round numbers from below the least to above the greatest. */
function niceTicks(least: number, greatest: number): number[] {
  const span = greatest - least || Math.abs(greatest) || 1
  const power = 10 ** Math.floor(Math.log10(span / 4))
  const step = power * ([1, 2, 2.5, 5, 10].find((factor) => factor * power * 4 >= span) ?? 10)
  const first = Math.floor(least / step)
  const last = Math.max(Math.ceil(greatest / step), first + 1)
  // Multiplied, not added up: 0.1 + 0.2 is not 0.3.
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)))
}
