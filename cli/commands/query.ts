import type { Pipeline } from '../../processor/topology/pipeline.ts'
import { CliError } from '../errors.ts'
import { counted } from '../format.ts'
import type { Io } from '../io.ts'
import { suggestion } from '../nearest.ts'
import { loadPipeline } from '../pipelines.ts'
import { tablesDirectory } from '../settings.ts'
import { formatTable, type Cell, type TableColumn } from '../table.ts'
import { queryWarehouse, type QueryResult } from '../wire/tables.ts'

export interface QueryArguments {
  readonly pipeline: string
  /** null: by `--sql`, or the list of what there is. */
  readonly name: string | null
  readonly flags: Readonly<Record<string, unknown>>
  readonly io: Io
}

const DEFAULT_LIMIT = 1_000

/**
 * Prints a result as an aligned table, or as one JSON object a row; works beside a `run` on the directory.
 * @throws CliError UNKNOWN_QUERY, BAD_USAGE; the warehouse's own errors
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
  const directory = tablesDirectory({ flags, env: io.env, cwd: io.cwd })
  const maxRows = limitOf(flags['limit'] as string | undefined)
  const result = await queryWarehouse({ directory, sql, maxRows })
  const columns = result.columns.map(({ name, type }): TableColumn => ({ name, numeric: isNumeric(type) }))
  const rows = withIsoTimes(result)
  if (flags['json'] === true) {
    for (const row of rows) io.stdout.write(`${JSON.stringify(objectOf(columns, row))}\n`)
  } else {
    io.stdout.write(`${formatTable(columns, rows)}\n`)
  }
  // Beside the result, not in it: what reads our output wants rows only.
  if (result.truncated) io.stderr.write(`Only the first ${counted(maxRows, 'row')}: --limit shows more.\n`)
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

function limitOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT
  const limit = /^\d+$/.test(text) ? Number(text) : NaN
  if (Number.isSafeInteger(limit) && limit > 0) return limit
  throw new CliError('BAD_USAGE', `--limit is "${text}": it must be a whole number above 0.`)
}

function isNumeric(type: string): boolean {
  return /^(TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|U\w*INT\w*|FLOAT|DOUBLE|DECIMAL)/.test(type.toUpperCase())
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
