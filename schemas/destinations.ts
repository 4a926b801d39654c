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
  /**
   * A row replaces the one before it with the same values here. The stream's equal rows must have equal
   * record keys, or two of them may come in either order. Default: rows are appended; updates of an
   * aggregate replace each other by group and window.
   */
  readonly key?: readonly ColumnOf<T>[]
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
  readonly format: TopicFormat
  /** The topic's full name; absent: it is one of the application's. */
  readonly topic?: string
}

/**
 * How a topic's values are written: as Avro behind the registry's header, or as JSON (numbers as they are, times
 * in epoch milliseconds, bytes in base64), which no registry explains and no table is filled from.
 */
export type TopicFormat = 'avro' | 'json'

export interface TopicOptions {
  /** One description a column. */
  readonly descriptions?: Record<string, string>
  /** Default `avro`. */
  readonly format?: TopicFormat
  /** The topic's full name, where others read it under one. Default `<application>.<name>`. */
  readonly topic?: string
}

/** Names a table; `T` is inferred from the stream that `to()` is called on, so a wrong column does not compile. */
export function table<T>(name: string, options: TableOptions<NoInfer<T>> = {}): TableDestination<T> {
  return { kind: 'table', name, options: options as TableOptions<never> }
}

export function topic(name: string, options: TopicOptions = {}): TopicDestination {
  return { kind: 'topic', name, format: 'avro', ...options }
}

/** What a sink is told about the table that it fills. */
export interface TableDefinition {
  /** `dataset.table`, or a bare table name. */
  readonly name: string
  readonly schema: Schema
  readonly partitionBy?: DayPartitioning
  readonly clusterBy: readonly string[]
  /** A row replaces the one before it with the same values in these columns. Absent: rows are appended. */
  readonly key?: readonly string[]
  readonly descriptions: Readonly<Record<string, string>>
  readonly description?: string
}
