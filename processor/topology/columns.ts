import type { TableDestination, TopicDestination } from '../../schemas/destinations.ts'
import { TopologyError, type AnySchema } from './graph.ts'

/**
 * Refuses a table whose options name a column that its rows do not have. The types say the same; this is for who
 * runs a file that was not compiled.
 * @throws TopologyError BAD_OPTION
 */
export function checkTableColumns({ name, options }: TableDestination<any>, schema: AnySchema): void {
  const place = `table '${name}'`
  const { partitionBy, clusterBy, key, descriptions } = options as TableDestination<never>['options'] & {
    readonly partitionBy?: { readonly column: string }
    readonly key?: readonly string[]
  }
  if (key?.length === 0) throw new TopologyError('BAD_OPTION', `${place}: its key names no column.`)
  checkColumns(`${place} has the key column`, key ?? [], schema)
  checkColumns(`${place} is clustered by`, clusterBy ?? [], schema)
  checkColumns(`${place} describes`, Object.keys(descriptions ?? {}), schema)
  if (partitionBy === undefined) return
  const { column } = partitionBy
  checkColumns(`${place} is partitioned by the day of`, [column], schema)
  const { kind } = schema.fields.find((field) => field.name === column)!
  if (kind === 'timestamp') return
  throw new TopologyError(
    'BAD_OPTION',
    `${place} is partitioned by the day of '${column}', which is a ${kind}. Name a timestamp.`,
  )
}

/**
 * @param place what names the columns, as the beginning of a sentence
 * @throws TopologyError BAD_OPTION
 */
export function checkColumns(place: string, columns: readonly string[], schema: AnySchema): void {
  const names = schema.fields.map(({ name }) => name)
  const missing = columns.find((column) => !names.includes(column))
  if (missing === undefined) return
  throw new TopologyError(
    'BAD_OPTION',
    `${place} '${missing}', which ${schema.name} does not have. Its columns are ${names.join(', ')}.`,
  )
}

/** @throws TopologyError BAD_OPTION where notices could not be made of the topic's rows */
export function checkNotify({ name, format, notify }: TopicDestination, { fields }: AnySchema): void {
  if (notify === undefined) return
  const refuse = (why: string): never => {
    throw new TopologyError('BAD_OPTION', `topic '${name}': notify ${why}.`)
  }
  if (format === 'json') refuse('reads Avro: leave out the format, or write a second topic')
  const { runsOf, per = [] } = notify
  const named = [...per, ...(runsOf === undefined ? [] : [...runsOf, 'window_start', 'window_end'])]
  const missing = named.find((column) => !fields.some((field) => field.name === column))
  if (missing !== undefined) refuse(`needs the column ${missing}, which its rows do not have`)
  if (per.length > 0 && runsOf === undefined) refuse("has 'per' without 'runsOf': runs of what?")
}
