import type { Schema } from './schema.ts'

/** Partitioning of a table by the day of a timestamp column. */
export interface DayPartitioning<Column extends string = string> {
  readonly unit: 'day'
  readonly column: Column
}

export function day<const Column extends string>(column: Column): DayPartitioning<Column> {
  return { unit: 'day', column }
}

type ColumnOf<T> = Extract<keyof T, string>

export interface TableOptions<T> {
  readonly partitionBy?: DayPartitioning<ColumnOf<T>>
  readonly clusterBy?: readonly ColumnOf<T>[]
  /** One description a column; they become the warehouse's column comments. */
  readonly descriptions?: Partial<Record<ColumnOf<T>, string>>
  readonly description?: string
}

/** A logical table, bound by configuration (DuckDB, BigQuery). The phantom `T` ties it to the stream's type. */
export interface TableDestination<in T> {
  readonly kind: 'table'
  /** `dataset.table`. */
  readonly name: string
  readonly options: TableOptions<never>
  readonly accepts?: (row: T) => void
}

/** A logical topic, bound by configuration (Kafka, Pub/Sub; embedded: a table of the pipeline's dataset). */
export interface TopicDestination {
  readonly kind: 'topic'
  readonly name: string
  readonly descriptions?: Readonly<Record<string, string>>
}

/** Names a table; `T` is inferred from the stream that `to()` is called on, so a wrong column does not compile. */
export function table<T>(name: string, options: TableOptions<NoInfer<T>> = {}): TableDestination<T> {
  return { kind: 'table', name, options: options as TableOptions<never> }
}

export function topic(
  name: string,
  options: { descriptions?: Record<string, string> } = {},
): TopicDestination {
  return { kind: 'topic', name, ...options }
}

/** What a sink is told about the table that it fills. */
export interface TableDefinition {
  /** `dataset.table`, or a bare table name. */
  readonly name: string
  readonly schema: Schema
  readonly partitionBy?: DayPartitioning
  readonly clusterBy: readonly string[]
  readonly descriptions: Readonly<Record<string, string>>
  readonly description?: string
}
