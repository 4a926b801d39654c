import { DuckDBInstance, VARCHAR, type DuckDBConnection } from '@duckdb/node-api'
import type { QueryResult } from './query.ts'
import { literal, quoted } from './types.ts'

/**
 * Writes a result to a file, replacing what is there, by a database in memory that has nothing else: a result that
 * a running process has answered is written like one that was read from the file.
 * Parquet has the query's types; what JSON has as an object or a list (and a few rare types) is text in it, as it
 * is in CSV. There null is empty, and an empty text is "".
 */
export async function exportResult(
  { columns, rows }: QueryResult,
  path: string,
  format: 'csv' | 'parquet',
): Promise<void> {
  const instance = await DuckDBInstance.create(':memory:', {
    threads: '1',
    autoinstall_known_extensions: 'false',
  })
  const connection = await instance.connect()
  try {
    await connection.run(`SET TimeZone = 'UTC'`)
    await load(connection, columns.length, rows)
    const selected = columns.map(({ name, type }, i) => {
      const value = format === 'parquet' && KEPT.test(type) ? `CAST(c${i} AS ${type})` : `c${i}`
      return `${value} AS ${quoted(name)}`
    })
    const options = format === 'csv' ? 'FORMAT csv, HEADER' : 'FORMAT parquet'
    await connection.run(`COPY (SELECT ${selected.join(', ')} FROM rows) TO ${literal(path)} (${options})`)
  } finally {
    connection.closeSync()
    instance.closeSync()
  }
}

/** Types whose text, as a query's result has it, can be read back. */
const KEPT =
  /^(BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(\d+,\s?\d+\)|DATE|TIME|TIMESTAMP(_(S|MS|NS))?|TIMESTAMP WITH TIME ZONE|UUID|BLOB)$/

async function load(connection: DuckDBConnection, width: number, rows: QueryResult['rows']): Promise<void> {
  const names = Array.from({ length: width }, (_, i) => `c${i} VARCHAR`)
  await connection.run(`CREATE TABLE rows (${names.join(', ')})`)
  const appender = await connection.createAppender('rows')
  for (const row of rows) {
    for (let i = 0; i < width; i++) {
      const cell = row[i] ?? null
      if (cell === null) appender.appendNull()
      else appender.appendValue(typeof cell === 'object' ? JSON.stringify(cell) : String(cell), VARCHAR)
    }
    appender.endRow()
  }
  appender.closeSync()
}
