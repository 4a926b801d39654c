/** What of a query's result can be drawn. */
import { CliError } from '../errors.ts'
import type { QueryResult } from '../wire/tables.ts'

/** Numbers over time, or a number for each label; each panel has a scale of its own. */
export type Chart = SeriesChart | BarChart

export interface SeriesChart {
  readonly kind: 'series'
  /** The column of the times. */
  readonly by: string
  readonly panels: readonly { readonly title: string; readonly points: readonly Point[] }[]
}

export interface BarChart {
  readonly kind: 'bars'
  /** The columns of the labels. */
  readonly by: string
  readonly panels: readonly { readonly title: string; readonly bars: readonly Bar[] }[]
}

/** Epoch ms, value. */
export type Point = readonly [ms: number, value: number]

export interface Bar {
  readonly label: string
  readonly value: number
}

const MAX_PANELS = 6

export function isNumeric(type: string): boolean {
  return /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w*INT\w*|FLOAT|DOUBLE|DECIMAL)/.test(type.toUpperCase())
}

function isTime(type: string): boolean {
  return type === 'DATE' || type.startsWith('TIMESTAMP')
}

/**
 * A time and numbers make a series for each number, and for each value of the texts beside them. Texts and numbers
 * make bars. Further times say nothing.
 * @throws CliError NO_CHART where a result has neither, or would need more panels than anybody can read
 */
export function chartOf(result: QueryResult): Chart {
  const { columns, rows } = result
  const numbers = columns.flatMap(({ type }, i) => (isNumeric(type) ? [i] : []))
  const times = columns.flatMap(({ type }, i) => (isTime(type) ? [i] : []))
  const texts = columns.flatMap(({ type }, i) => (isNumeric(type) || isTime(type) ? [] : [i]))
  const [time] = times
  if (numbers.length === 0 || (time === undefined && texts.length === 0)) throw noChart(result)
  if (rows.length === 0) throw new CliError('NO_CHART', 'the result has no rows: there is nothing to draw.')
  const labelOf = (row: QueryResult['rows'][number]): string =>
    texts.map((i) => (typeof row[i] === 'string' ? row[i] : JSON.stringify(row[i]))).join(' / ')
  const by = (indexes: readonly number[]): string => indexes.map((i) => columns[i]!.name).join(' / ')
  if (time === undefined) {
    checkPanels(numbers.length)
    const bars = (i: number): Bar[] =>
      rows.flatMap((row) => {
        const value = numberOf(row[i])
        return value === null ? [] : [{ label: labelOf(row), value }]
      })
    return {
      kind: 'bars',
      by: by(texts),
      panels: numbers.map((i) => ({ title: columns[i]!.name, bars: bars(i) })),
    }
  }
  const groups = Map.groupBy(rows, labelOf)
  checkPanels(groups.size * numbers.length)
  const panels = [...groups].flatMap(([label, members]) =>
    numbers.map((i) => ({
      title: label === '' ? columns[i]!.name : `${columns[i]!.name}, ${label}`,
      points: pointsOf(members, time, i),
    })),
  )
  return { kind: 'series', by: columns[time]!.name, panels }
}

function pointsOf(rows: QueryResult['rows'], time: number, number: number): Point[] {
  return rows
    .flatMap((row): Point[] => {
      const [ms, value] = [msOf(row[time]), numberOf(row[number])]
      return ms === null || value === null ? [] : [[ms, value]]
    })
    .sort(([a], [b]) => a - b)
}

/** Decimals and what exceeds a number come as text; null and NaN are gaps. */
function numberOf(cell: unknown): number | null {
  if (typeof cell !== 'number' && typeof cell !== 'string') return null
  const value = Number(cell)
  return Number.isFinite(value) ? value : null
}

/** DuckDB's times are UTC: `2010-12-01 08:26:00`, a date, or ISO 8601. */
function msOf(cell: unknown): number | null {
  if (typeof cell !== 'string') return null
  const iso = cell.replace(' ', 'T')
  const ms = Date.parse(iso.includes('T') && !/(Z|[+-]\d\d(:?\d\d)?)$/.test(iso) ? `${iso}Z` : iso)
  return Number.isNaN(ms) ? null : ms
}

function noChart({ columns }: QueryResult): CliError {
  const found = columns.map(({ name, type }) => `${name} (${type})`).join(', ')
  return new CliError(
    'NO_CHART',
    `a chart needs a time and a number (drawn over time), or a text and a number (bars); the result has ` +
      `${found}. Choose other columns with --sql.`,
  )
}

function checkPanels(panels: number): void {
  if (panels <= MAX_PANELS) return
  throw new CliError(
    'NO_CHART',
    `the result would take ${panels} charts, one for each number and text; ${MAX_PANELS} are drawn at most. ` +
      `Choose fewer columns or rows with --sql.`,
  )
}
