import { BIGINT, BLOB, BOOLEAN, DOUBLE, INTEGER, TIMESTAMP, VARCHAR, type DuckDBType } from '@duckdb/node-api'
import type { FieldKind } from '../../schemas/schema.ts'

/** A timestamp is UTC, in microseconds; DuckDB's TIMESTAMP carries no zone. */
const TYPES: Record<FieldKind, DuckDBType> = {
  string: VARCHAR,
  double: DOUBLE,
  long: BIGINT,
  int: INTEGER,
  boolean: BOOLEAN,
  timestamp: TIMESTAMP,
  bytes: BLOB,
}

export function duckdbTypeOf(kind: FieldKind): DuckDBType {
  return TYPES[kind]
}

/** A name as SQL takes it whatever it is: `at`, for one, is a keyword in DuckDB. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}

export function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}

export interface TableName {
  readonly schema: string
  readonly table: string
}

/** `dataset.table`; a bare name is a table of the schema `main`. */
export function splitName(name: string): TableName {
  const dot = name.indexOf('.')
  return dot < 0
    ? { schema: 'main', table: name }
    : { schema: name.slice(0, dot), table: name.slice(dot + 1) }
}

export function quotedName(name: string): string {
  const { schema, table } = splitName(name)
  return `${quoted(schema)}.${quoted(table)}`
}
