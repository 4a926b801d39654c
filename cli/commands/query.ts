import { relative } from 'node:path'
import { systemClock } from '../../config/clock.ts'
import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { chartOf, isNumeric } from '../chart/choose.ts'
import { page } from '../chart/page.ts'
import { drawChart } from '../chart/terminal.ts'
import { CliError } from '../errors.ts'
import type { Io } from '../io.ts'
import { suggestion } from '../nearest.ts'
import { outputOf, textFile, writeWhole, type OutputFile } from '../output/files.ts'
import { counted } from '../output/format.ts'
import { formatTable, type Cell, type TableColumn } from '../output/table.ts'
import { loadPipeline } from '../pipelines/load.ts'
import { tablesDirectory } from '../settings/settings.ts'
import { exportResult, queryWarehouse, type QueryResult } from '../wire/tables.ts'

export interface QueryArguments {
  readonly pipeline: string
  /** null: by `--sql`, or the list of what there is. */
  readonly name: string | null
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

const DEFAULT_LIMIT = 1_000
/** Who asks for a file wants all of it; a running process gives no more. */
const FILE_LIMIT = 1_000_000

/**
 * Prints a result as an aligned table, as one JSON object a row or as a chart, or writes it to a file; works beside
 * a `run` on the directory.
 * @throws CliError UNKNOWN_QUERY, BAD_USAGE, NO_CHART; the warehouse's own errors
 */
export async function queryCommand({
  pipeline: name,
  name: query,
  flags,
  io,
}: QueryArguments): Promise<void> {
  const { pipeline } = await loadPipeline(name, io.cwd)
  const sql = sqlOf(pipeline, query, flags['sql'] as string | undefined)
  if (sql === null) {
    listQueries(pipeline, io)
    return
  }
  const file = outputFile(flags, query, io)
  const directory = tablesDirectory({ flags, env: io.env, cwd: io.cwd })
  const maxRows = limitOf(flags['limit'] as string | undefined, file === null ? DEFAULT_LIMIT : FILE_LIMIT)
  const result = await queryWarehouse({ directory, sql, maxRows })
  const shown: Shown = {
    title: `${name}: ${query ?? 'query'}`,
    sql,
    result,
    columns: result.columns.map(({ name, type }): TableColumn => ({ name, numeric: isNumeric(type) })),
    rows: withIsoTimes(result),
  }
  if (file !== null) {
    await writeWhole(file.path, await writerOf(file.format, shown))
    io.stderr.write(`${counted(result.rows.length, 'row')} in ${relative(io.cwd, file.path)}\n`)
  } else if (flags['chart'] === true) {
    const color = io.stdout.isTTY === true && (io.env['NO_COLOR'] ?? '') === ''
    io.stdout.write(`${drawChart(chartOf(result), { width: widthOf(io), color })}\n`)
  } else if (flags['json'] === true) io.stdout.write(linesOf(shown))
  else io.stdout.write(`${formatTable(shown.columns, shown.rows)}\n`)
  // Beside the result, not in it: what reads our output wants rows only.
  if (result.truncated) io.stderr.write(`Only the first ${counted(maxRows, 'row')}: --limit shows more.\n`)
}

/** What is shown of a result, whatever the form. */
interface Shown {
  readonly title: string
  readonly sql: string
  readonly result: QueryResult
  readonly columns: readonly TableColumn[]
  readonly rows: readonly (readonly Cell[])[]
}

function outputFile(flags: QueryArguments['flags'], query: string | null, { cwd }: Io): OutputFile | null {
  const ways = ['json', 'chart', 'output'].filter((flag) => flags[flag] !== undefined)
  if (ways.length > 1) {
    throw new CliError(
      'BAD_USAGE',
      `--${ways.join(' and --')} are ways to show a result: choose one of them.`,
    )
  }
  const output = flags['output'] as string | undefined
  return output === undefined ? null : outputOf(output, query ?? 'query', cwd)
}

async function writerOf(
  format: OutputFile['format'],
  shown: Shown,
): Promise<(draft: string) => Promise<void>> {
  const { result, columns, rows } = shown
  switch (format) {
    case 'csv':
      return (draft) => exportResult({ ...result, rows: rows as QueryResult['rows'] }, draft, format)
    case 'parquet':
      return (draft) => exportResult(result, draft, format)
    case 'ndjson':
      return textFile(linesOf(shown))
    case 'json': {
      const objects = rows.map((row) => JSON.stringify(objectOf(columns, row)))
      return textFile(objects.length === 0 ? '[]\n' : `[\n${objects.join(',\n')}\n]\n`)
    }
    case 'html':
      return textFile(page({ ...shown, madeMs: systemClock.nowMs() }))
  }
}

function linesOf({ columns, rows }: Shown): string {
  return rows.map((row) => `${JSON.stringify(objectOf(columns, row))}\n`).join('')
}

const USUAL_WIDTH = 80
const LEAST_WIDTH = 40

/** Columns of the terminal; elsewhere those that COLUMNS says. */
function widthOf({ stdout, env }: Io): number {
  const said = Number(env['COLUMNS'])
  const width = stdout.columns ?? (Number.isInteger(said) && said > 0 ? said : USUAL_WIDTH)
  return Math.max(LEAST_WIDTH, width)
}

function sqlOf(pipeline: Pipeline, query: string | null, sql: string | undefined): string | null {
  if (query !== null && sql !== undefined) {
    throw new CliError('BAD_USAGE', `Both the query '${query}' and --sql are given: leave one of them out.`)
  }
  if (sql !== undefined) return sql
  if (query === null) return null
  const named = Object.hasOwn(pipeline.queries, query) ? pipeline.queries[query] : undefined
  if (named === undefined) {
    throw new CliError(
      'UNKNOWN_QUERY',
      `pipeline '${pipeline.name}' has no query '${query}'. ${suggestion(query, Object.keys(pipeline.queries))} ` +
        `SQL of your own goes into --sql.`,
    )
  }
  return named.sql
}

function listQueries({ name, queries }: Pipeline, io: Io): void {
  const rows = Object.entries(queries).map(([query, { description }]) => [query, description])
  if (rows.length === 0) {
    io.stdout.write(`Pipeline '${name}' has no named queries; --sql takes your own.\n`)
    return
  }
  const columns = ['query', 'answers'].map((column) => ({ name: column, numeric: false }))
  io.stdout.write(`${formatTable(columns, rows)}\n`)
}

function limitOf(text: string | undefined, usual: number): number {
  if (text === undefined) return usual
  const limit = /^\d+$/.test(text) ? Number(text) : NaN
  if (Number.isSafeInteger(limit) && limit > 0) return limit
  throw new CliError('BAD_USAGE', `--limit is "${text}": it must be a whole number above 0.`)
}

function objectOf(columns: readonly TableColumn[], row: readonly Cell[]): Record<string, unknown> {
  return Object.fromEntries(columns.map(({ name }, i) => [name, row[i]]))
}

/** DuckDB prints a time as `2010-12-01 08:26:00`; it is UTC, and ISO 8601 says so. */
function withIsoTimes({ columns, rows }: QueryResult): readonly (readonly Cell[])[] {
  if (!columns.some(({ type }) => type === 'TIMESTAMP')) return rows
  return rows.map((row) =>
    row.map((cell, i) =>
      columns[i]!.type === 'TIMESTAMP' && typeof cell === 'string' ? `${cell.replace(' ', 'T')}Z` : cell,
    ),
  )
}
