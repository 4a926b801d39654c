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
export interface TopicDestination<in T = never> {
  readonly kind: 'topic'
  readonly name: string
  readonly descriptions?: Readonly<Record<string, string>>
  readonly format: TopicFormat
  /** The topic's full name; absent: it is one of the application's. */
  readonly topic?: string
  readonly notify?: Notify<never>
  readonly accepts?: (row: T) => void
}

/** How grave a row is: the level that it is logged at, and what a notice of it says first. */
export type Severity = 'error' | 'warn' | 'info'

/**
 * Tells people of a topic's rows: each is logged, and a notice goes to the webhook and the mail addresses that the
 * environment names (docs/alerts.md), unless the row is older than an hour by the wall clock: by its `window_end`,
 * where it has one, else by when it was written.
 */
export interface Notify<T> {
  /** What the row says, in one line. Its window is added. */
  readonly text: (row: T) => string
  /** Default `warn`. */
  readonly severity?: (row: T) => Severity
  /**
   * Rows with equal values here (with none: all rows) in consecutive windows are a run, of which only the first and
   * the last are sent. The rows need `window_start` and `window_end`. Default: a notice for every row.
   */
  readonly runsOf?: readonly ColumnOf<T>[]
  /** Each combination of values here has runs of its own. Default: one for the whole topic. */
  readonly per?: readonly ColumnOf<T>[]
}

/**
 * How a topic's values are written: as Avro behind the registry's header, or as JSON (numbers as they are, times
 * in epoch milliseconds, bytes in base64), which no registry explains and no table is filled from.
 */
export type TopicFormat = 'avro' | 'json'

export interface TopicOptions<T> {
  /** One description a column. */
  readonly descriptions?: Record<string, string>
  /** Default: nobody is told. */
  readonly notify?: Notify<T>
  /** Default `avro`. */
  readonly format?: TopicFormat
  /** The topic's full name, where others read it under one. Default `<application>.<name>`. */
  readonly topic?: string
}

/** Names a table; `T` is inferred from the stream that `to()` is called on, so a wrong column does not compile. */
export function table<T>(name: string, options: TableOptions<NoInfer<T>> = {}): TableDestination<T> {
  return { kind: 'table', name, options: options as TableOptions<never> }
}

/** Names a topic; `T` is inferred as a table's is. */
export function topic<T>(name: string, options: TopicOptions<NoInfer<T>> = {}): TopicDestination<T> {
  return { kind: 'topic', name, format: 'avro', ...options } as TopicDestination<T>
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
