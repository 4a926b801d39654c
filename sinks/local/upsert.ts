import type { DuckDBDataChunk } from '@duckdb/node-api'
import type { Session } from './session.ts'
import type { Layout } from './table.ts'
import { quoted, quotedName } from './types.ts'

const STAGE = '_millrace_upsert'

/**
 * Rows that replace those of equal key, in the caller's transaction. They go through a temporary table of their
 * own, by position, since no index is kept: a key may be null, and a merge by hash passes over row groups whose
 * windows lie elsewhere (10,000 keys into 300,000 rows took 13 ms, deleting and inserting 34).
 */
export class Upsert {
  readonly #create: string
  readonly #merge: string

  /** @param layout the table's columns, in its order, by name */
  constructor(table: string, columns: readonly string[], layout: Layout, key: readonly string[]) {
    const target = quotedName(table)
    const staged = columns.map((_, i) => `c${i}`)
    const known = columns
      .map((name, i) => ({ name, staged: `stage.c${i}` }))
      .filter((_, i) => layout[i] !== null)
    const keys = known.filter(({ name }) => key.includes(name))
    const others = known.filter(({ name }) => !key.includes(name))
    this.#create = `
      CREATE OR REPLACE TEMP TABLE ${STAGE} AS SELECT * FROM ${target} AS t(${staged.join(', ')}) LIMIT 0`
    // The last row of each key: rows were staged in their order.
    this.#merge = `
      MERGE INTO ${target} AS target USING (
        FROM temp.main.${STAGE} AS stage
        QUALIFY row_number() OVER (
          PARTITION BY ${keys.map((column) => column.staged).join(', ')} ORDER BY rowid DESC) = 1
      ) AS stage
      ON ${keys.map((column) => `target.${quoted(column.name)} IS NOT DISTINCT FROM ${column.staged}`).join(' AND ')}
      WHEN MATCHED THEN ${
        others.length === 0
          ? 'DO NOTHING'
          : `UPDATE SET ${others.map((column) => `${quoted(column.name)} = ${column.staged}`).join(', ')}`
      }
      WHEN NOT MATCHED THEN INSERT (${known.map(({ name }) => quoted(name)).join(', ')})
        VALUES (${known.map((column) => column.staged).join(', ')})`
  }

  async write({ connection }: Session, chunks: readonly DuckDBDataChunk[]): Promise<void> {
    // Made anew each time: what is deleted from a table in memory is not given back.
    await connection.run(this.#create)
    const appender = await connection.createAppender(STAGE, 'main', 'temp')
    try {
      for (const chunk of chunks) appender.appendDataChunk(chunk)
      appender.flushSync()
    } finally {
      appender.closeSync()
    }
    await connection.run(this.#merge)
    await connection.run(`DROP TABLE temp.main.${STAGE}`)
  }
}
