import {
  DuckDBBlobValue,
  DuckDBTimestampTZValue,
  JsonDuckDBValueConverter,
  StatementType,
  type DuckDBConnection,
  type DuckDBPreparedStatement,
  type DuckDBValueConverter,
  type Json,
} from '@duckdb/node-api'
import { WarehouseError } from './errors.ts'

export interface QueryOptions {
  /** More rows are cut off, and the result says so. */
  readonly maxRows: number
  readonly timeoutMs: number
  /** Ends it early: nobody waits for the result. */
  readonly signal?: AbortSignal
}

export interface QueryColumn {
  readonly name: string
  /** DuckDB's name of it. */
  readonly type: string
}

/**
 * Values are JSON: integers and doubles are numbers, as far as a number holds them exactly (else text), as are
 * NaN and infinities text; decimals, times and dates are text as DuckDB prints them (times in UTC); blobs are
 * text with \xNN for what is not printable.
 */
export interface QueryResult {
  readonly columns: readonly QueryColumn[]
  readonly rows: readonly (readonly Json[])[]
  /** There were more than `maxRows`. */
  readonly truncated: boolean
}

/** Of all values together, as JSON would have them. */
const MAX_RESULT_BYTES = 32 * 2 ** 20

/** They read nothing and change how the instance works, though a SELECT can call them. */
const FORBIDDEN_CALLS =
  /\b(enable_logging|disable_logging|truncate_duckdb_logs|write_log|force_checkpoint|checkpoint)"?\s*\(/i

/**
 * Runs one or more statements that only read, and gives the result of the last.
 * @throws WarehouseError NOT_A_QUERY, BAD_QUERY, QUERY_TOO_LARGE
 */
export async function runQuery(
  connection: DuckDBConnection,
  sql: string,
  options: QueryOptions,
): Promise<QueryResult> {
  const { timeoutMs, signal } = options
  const expired = AbortSignal.timeout(timeoutMs)
  const ended = signal === undefined ? expired : AbortSignal.any([expired, signal])
  const interrupt = (): void => connection.interrupt()
  ended.addEventListener('abort', interrupt)
  try {
    // Whatever a statement is called: DuckDB itself refuses to write in here.
    await connection.run('BEGIN TRANSACTION READ ONLY')
    return await lastResult(connection, sql, options)
  } catch (error) {
    throw expired.aborted ? tooSlow(timeoutMs, error as Error) : queryError(error as Error)
  } finally {
    ended.removeEventListener('abort', interrupt)
    await connection.run('ROLLBACK').catch(() => undefined)
  }
}

async function lastResult(
  connection: DuckDBConnection,
  sql: string,
  { maxRows }: QueryOptions,
): Promise<QueryResult> {
  if (FORBIDDEN_CALLS.test(sql)) throw notAQuery('it calls a function that changes how the database works')
  const statements = await connection.extractStatements(sql)
  if (statements.count === 0) throw notAQuery('there is no statement in it')
  let last: DuckDBPreparedStatement | null = null
  for (let i = 0; i < statements.count; i++) {
    last = await statements.prepare(i)
    const type = last.statementType
    if (type !== StatementType.SELECT && type !== StatementType.EXPLAIN) {
      throw notAQuery(`statement ${i + 1} is ${StatementType[type]}`)
    }
    if (last.parameterCount > 0)
      throw notAQuery(`statement ${i + 1} has parameters, for which there are no values`)
  }
  return await readResult(last!, maxRows)
}

async function readResult(statement: DuckDBPreparedStatement, maxRows: number): Promise<QueryResult> {
  const result = await statement.stream()
  const names = result.columnNames()
  const columns = result.columnTypes().map((type, i) => ({ name: names[i]!, type: type.toString() }))
  const rows: Json[][] = []
  let bytes = 0
  for (;;) {
    const chunk = await result.fetchChunk()
    if (chunk === null || chunk.rowCount === 0) return { columns, rows, truncated: false }
    for (const row of chunk.convertRows(toJson)) {
      if (rows.length >= maxRows) return { columns, rows, truncated: true }
      rows.push(row)
      bytes += JSON.stringify(row).length
      if (bytes <= MAX_RESULT_BYTES) continue
      throw new WarehouseError(
        'QUERY_TOO_LARGE',
        `The result is over ${MAX_RESULT_BYTES >> 20} MiB after ${rows.length} rows: ask for fewer rows or columns.`,
      )
    }
  }
}

const toJson: DuckDBValueConverter<Json> = (value, type, converter) => {
  if (typeof value === 'bigint') return safeNumber(value)
  if (value instanceof DuckDBTimestampTZValue) return new Date(Number(value.micros / 1000n)).toISOString()
  if (value instanceof DuckDBBlobValue) return value.toString()
  return JsonDuckDBValueConverter(value, type, converter)
}

function safeNumber(value: bigint): number | string {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : value.toString()
}

function notAQuery(why: string): WarehouseError {
  return new WarehouseError(
    'NOT_A_QUERY',
    `Only statements that read can be run here (SELECT, FROM, VALUES, WITH, DESCRIBE, SUMMARIZE, EXPLAIN): ${why}.`,
  )
}

function tooSlow(timeoutMs: number, cause: Error): WarehouseError {
  return new WarehouseError(
    'QUERY_TOO_LARGE',
    `The query was ended after ${timeoutMs / 1000} s: ask for less, or copy the file and query the copy.`,
    { cause },
  )
}

function queryError(error: Error): Error {
  if (error instanceof WarehouseError) return error
  if (/^(Out of Memory|IO) Error/.test(error.message)) {
    return new WarehouseError(
      'QUERY_TOO_LARGE',
      `The query needs more memory than it may have: ${error.message}`,
      {
        cause: error,
      },
    )
  }
  return new WarehouseError('BAD_QUERY', error.message, { cause: error })
}
