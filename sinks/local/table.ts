import type { DuckDBConnection } from '@duckdb/node-api'
import type { TableDefinition } from '../../schemas/destinations.ts'
import type { FieldDefinition } from '../../schemas/schema.ts'
import { SinkError } from '../port.ts'
import { duckdbTypeOf, literal, quoted, quotedName, splitName } from './types.ts'

interface FoundColumn {
  readonly name: string
  readonly type: string
  readonly nullable: boolean
  readonly comment: string | null
}

/** What fills a table's columns, in the table's own order: a field of the schema, or nothing. */
export type Layout = readonly (FieldDefinition | null)[]

export interface PreparedTable {
  /** The table's columns by name, in its order. */
  readonly columns: readonly string[]
  readonly layout: Layout
  /** What was done, one line each. */
  readonly changes: readonly string[]
}

/**
 * Creates the table, or adds what may be added to the one that is there, in the caller's transaction.
 * @throws SinkError DRIFT when what is there does not fit
 */
export async function prepareTable(
  connection: DuckDBConnection,
  table: TableDefinition,
): Promise<PreparedTable> {
  const { fields } = table.schema
  let found = await readColumns(connection, table.name)
  const changes: string[] = []
  if (found === null) {
    await createTable(connection, table)
    // The rows of a table that was dropped or renamed went with it: where they reached to counts no more.
    await connection.run('DELETE FROM _millrace.positions WHERE destination = $name', { name: table.name })
    changes.push('created')
    found = (await readColumns(connection, table.name))!
  } else {
    checkDrift(table, found)
    for (const field of fields.filter(({ name }) => !found!.some((column) => column.name === name))) {
      const type = duckdbTypeOf(field.kind).toString()
      await connection.run(`ALTER TABLE ${quotedName(table.name)} ADD COLUMN ${quoted(field.name)} ${type}`)
      changes.push(`added column ${field.name} (${type})`)
    }
    if (changes.length > 0) found = (await readColumns(connection, table.name))!
  }
  await describe(connection, table, found)
  const columns = found.map(({ name }) => name)
  return {
    columns,
    layout: columns.map((name) => fields.find((field) => field.name === name) ?? null),
    changes,
  }
}

async function readColumns(connection: DuckDBConnection, name: string): Promise<FoundColumn[] | null> {
  const { schema, table } = splitName(name)
  const result = await connection.runAndReadAll(
    `SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns()
     WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table
     ORDER BY column_index`,
    { schema, table },
  )
  const columns = result.getRows().map(([column, type, nullable, comment]) => ({
    name: column as string,
    type: type as string,
    nullable: nullable as boolean,
    comment: comment as string | null,
  }))
  return columns.length === 0 ? null : columns
}

async function createTable(connection: DuckDBConnection, { name, schema }: TableDefinition): Promise<void> {
  await connection.run(`CREATE SCHEMA IF NOT EXISTS ${quoted(splitName(name).schema)}`)
  const columns = schema.fields.map(
    ({ name: column, kind, optional }) =>
      `${quoted(column)} ${duckdbTypeOf(kind).toString()}${optional ? '' : ' NOT NULL'}`,
  )
  await connection.run(`CREATE TABLE ${quotedName(name)} (${columns.join(', ')})`)
}

function checkDrift(table: TableDefinition, found: readonly FoundColumn[]): void {
  const { fields } = table.schema
  const differences: string[] = []
  for (const { name, kind, optional } of fields) {
    const expected = `${duckdbTypeOf(kind).toString()}${optional ? '' : ' NOT NULL'}`
    const column = found.find((candidate) => candidate.name === name)
    if (column === undefined) {
      // Rows that are there could have no value for it.
      if (!optional) differences.push(`column ${name} is missing (should be ${expected})`)
      continue
    }
    const actual = `${column.type}${column.nullable ? '' : ' NOT NULL'}`
    const differs = column.type !== duckdbTypeOf(kind).toString() || (optional && !column.nullable)
    if (differs) differences.push(`column ${name} is ${actual} (should be ${expected})`)
  }
  for (const { name, nullable, type } of found) {
    if (nullable || fields.some((field) => field.name === name)) continue
    differences.push(`column ${name} is ${type} NOT NULL (the pipeline has no value for it)`)
  }
  if (differences.length === 0) return
  const { schema, table: bare } = splitName(table.name)
  throw new SinkError(
    'DRIFT',
    `Table ${table.name} does not fit what the pipeline writes: ${differences.join('; ')}. Alter the table, ` +
      `change the pipeline back, or keep the old rows under another name (ALTER TABLE ` +
      `${quoted(schema)}.${quoted(bare)} RENAME TO ${quoted(`${bare}_old`)}), so that the table is filled afresh.`,
  )
}

/** Descriptions are comments; so is how a warehouse would lay the table out, which means nothing to DuckDB. */
async function describe(
  connection: DuckDBConnection,
  table: TableDefinition,
  found: readonly FoundColumn[],
): Promise<void> {
  const { name, description, partitionBy, clusterBy, key, descriptions } = table
  const parts = [
    description,
    partitionBy === undefined ? undefined : `Partitioned by ${partitionBy.unit} of ${partitionBy.column}.`,
    clusterBy.length === 0 ? undefined : `Clustered by ${clusterBy.join(', ')}.`,
    key === undefined ? undefined : `One row for each ${key.join(', ')}: the latest.`,
  ]
  const comment = parts.filter((part) => part !== undefined).join(' ')
  if (comment !== '' && comment !== (await tableComment(connection, name))) {
    await connection.run(`COMMENT ON TABLE ${quotedName(name)} IS ${literal(comment)}`)
  }
  for (const column of found) {
    const text = descriptions[column.name]
    if (text === undefined || text === column.comment) continue
    await connection.run(`COMMENT ON COLUMN ${quotedName(name)}.${quoted(column.name)} IS ${literal(text)}`)
  }
}

async function tableComment(connection: DuckDBConnection, name: string): Promise<string | null> {
  const { schema, table } = splitName(name)
  const result = await connection.runAndReadAll(
    `SELECT comment FROM duckdb_tables()
     WHERE database_name = current_database() AND schema_name = $schema AND table_name = $table`,
    { schema, table },
  )
  return (result.getRows()[0]?.[0] ?? null) as string | null
}
