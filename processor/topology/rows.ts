import {
  extend,
  optional,
  schema as makeSchema,
  string,
  timestamp,
  type Field,
  type Schema,
} from '../../schemas/schema.ts'
import type { Aggregate } from '../windows/aggregates.ts'
import { fieldOf, pascalCase } from './grouping.ts'
import { TopologyError, type AnySchema, type Emit } from './graph.ts'

/** What `stamp`, a window or a late stream adds to a row's type. */
export type With<T, Columns> = { [K in keyof (T & Columns)]: (T & Columns)[K] }
export type Results<A> = { [K in keyof A]: A[K] extends Aggregate<never, infer R> ? R : never }
export type WindowColumns = { window_start: number; window_end: number }
export type LateColumns = WindowColumns & { watermark: number | null; late_mark: string }

export interface AggregateOptions {
  /**
   * `final`: a row when its window has closed. `updates`: with each commit, in its transaction, a row with
   * the full values for each group and window that changed since the last one, and none more at the close:
   * the last update is the final row. Which values in between are seen depends on when commits fall; the
   * last does not. Default `final`.
   */
  readonly emit?: Emit
  /**
   * To be raised when a function changes that the results hang on, which nobody can see from outside. The new
   * version begins with nothing: of the windows that are open then it counts what is still to come. Default: the
   * pipeline's.
   */
  readonly version?: number
}

/** What a row reduction is made of. */
export interface ReduceFunctions<T, R> {
  /** What of a record is reduced. */
  readonly of: (value: T) => NoInfer<R>
  /** One of two, the earlier first. */
  readonly combine: (a: Readonly<R>, b: Readonly<R>) => NoInfer<R>
  readonly as: Schema<R>
}

/** The schema of an aggregate's rows. @throws TopologyError BAD_OPTION */
export function rowSchema(
  name: string,
  input: AnySchema,
  keyColumns: readonly string[],
  resultFields: Readonly<Record<string, Field<any>>>,
): AnySchema {
  const fields: Record<string, Field<any>> = {}
  for (const column of keyColumns) fields[column] = fieldOf(input, column, name)
  fields['window_start'] = timestamp()
  fields['window_end'] = timestamp()
  for (const [column, field] of Object.entries(resultFields)) {
    if (column in fields) {
      throw new TopologyError(
        'BAD_OPTION',
        `aggregate '${name}' has the column '${column}' twice: the group and the window have it already. Name it otherwise.`,
      )
    }
    fields[column] = field
  }
  return makeSchema(pascalCase(name), fields) as AnySchema
}

/** The schema of the records that came too late for an aggregate. */
export function lateSchema(name: string, inputSchema: AnySchema): AnySchema {
  const columns = {
    window_start: timestamp(),
    window_end: timestamp(),
    watermark: optional(timestamp()),
    late_mark: string(),
  }
  return extend(inputSchema, columns, `${pascalCase(name)}Late`) as AnySchema
}
