import type { Duration } from '../../schemas/duration.ts'
import { parseDurationMs } from '../../schemas/duration.ts'
import type { TableDestination, TopicDestination } from '../../schemas/destinations.ts'
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
import type { TumblingWindows } from '../windows/tumbling.ts'
import { checkColumns, checkTableColumns } from './columns.ts'
import {
  TopologyError,
  type AnySchema,
  type Emit,
  type Graph,
  type Node,
  type PartialWindowNode,
  type WindowNode,
} from './graph.ts'
import { refuseUpdates, upsertKey } from './updates.ts'

type ColumnOf<T> = Extract<keyof T, string>
/** What `stamp`, a window or a late stream adds to a row's type. */
type With<T, Columns> = { [K in keyof (T & Columns)]: (T & Columns)[K] }
type Results<A> = { [K in keyof A]: A[K] extends Aggregate<never, infer R> ? R : never }
type WindowColumns = { window_start: number; window_end: number }
type LateColumns = WindowColumns & { watermark: number | null; late_mark: string }

/** An unbounded sequence of values. Methods add nodes to the topology; nothing runs yet. */
export class Stream<T> {
  protected readonly graph: Graph
  protected readonly node: Node

  constructor(graph: Graph, node: Node) {
    this.graph = graph
    this.node = node
  }

  /** Each value becomes another. Give `as` where the result leaves its task (a table, a topic, a repartition). */
  map<R>(fn: (value: T) => R, options: { as?: Schema<R> } = {}): Stream<R> {
    return this.#derive({
      kind: 'map',
      name: this.graph.autoName('map'),
      input: this.node,
      fn,
      schema: options.as ?? null,
    })
  }

  /** Each value becomes none, one or several. `as` as for `map`. */
  flatMap<R>(fn: (value: T) => Iterable<R> | null | undefined, options: { as?: Schema<R> } = {}): Stream<R> {
    return this.#derive({
      kind: 'flatMap',
      name: this.graph.autoName('flatMap'),
      input: this.node,
      fn,
      schema: options.as ?? null,
    })
  }

  /** Keeps the values for which `fn` is true. */
  filter(fn: (value: T) => boolean): Stream<T> {
    return this.#derive({
      kind: 'filter',
      name: this.graph.autoName('filter'),
      input: this.node,
      fn,
      schema: this.node.schema,
    })
  }

  /** Gives each record another key. Records move to their key's partition where that matters downstream. */
  selectKey(fn: (value: T) => string): Stream<T> {
    return this.#derive({
      kind: 'selectKey',
      name: this.graph.autoName('selectKey'),
      input: this.node,
      fn,
      schema: this.node.schema,
    })
  }

  /** Sends the records through a topic of this name, so that equal keys meet in one task. */
  repartition(name: string): Stream<T> {
    const node = this.graph.add({
      kind: 'repartition',
      name,
      input: this.node,
      schema: this.#schemaFor(`repartition '${name}'`),
    })
    return new Stream<T>(this.graph, node)
  }

  /**
   * Drops repetitions: equal `id` columns with ingestion times no further apart than `horizon`
   * (default 24 h). The first by offset stays.
   */
  dedupe(name: string, options: { id: readonly ColumnOf<T>[]; horizon?: Duration }): Stream<T> {
    const columns = options.id
    refuseUpdates(this.node, `dedupe '${name}'`, 'would drop them as repetitions')
    if (columns.length === 0) throw new TopologyError('BAD_OPTION', `dedupe '${name}': id names no column.`)
    if (this.node.schema !== null) checkColumns(`dedupe '${name}' compares`, columns, this.node.schema)
    const id = keyText<T>(columns)
    const together = this.selectKey(id).repartition(`${name}-by-id`)
    const node = this.graph.add({
      kind: 'dedupe',
      name,
      input: nodeOf(together),
      id,
      idColumns: columns,
      horizonMs: parseDurationMs(options.horizon ?? '24h'),
      schema: this.node.schema,
    })
    return new Stream<T>(this.graph, node)
  }

  /** Groups by the values of columns; equal groups meet in one task. */
  groupBy<const C extends readonly [ColumnOf<T>, ...ColumnOf<T>[]]>(
    ...columns: C
  ): GroupedStream<T, C[number]> {
    return new GroupedStream<T, C[number]>(this.graph, this, this.node, columns)
  }

  /** Adds the processor's wall clock (epoch ms) as a timestamp column. */
  stamp<const Column extends string>(column: Column): Stream<With<T, Record<Column, number>>> {
    const schema =
      this.node.schema === null
        ? null
        : (extend(
            this.node.schema,
            { [column]: timestamp() },
            `${this.node.schema.name}_${column}`,
          ) as AnySchema)
    return this.#derive({
      kind: 'stamp',
      name: this.graph.autoName('stamp'),
      input: this.node,
      column,
      schema,
    })
  }

  /** All records in one group: aggregated in two stages, so that it scales with the partitions. */
  window(windows: TumblingWindows): WindowedStream<T, never> {
    return new WindowedStream<T, never>(this.graph, this.node, windows, null)
  }

  /**
   * Delivers to a table or a topic. The stream needs a schema. Updates replace each other in a table, by
   * group and window or by the table's `key`; a topic has them all.
   * @throws TopologyError SCHEMA_MISSING, BAD_OPTION for a column that the rows do not have, NOT_ON_UPDATES where
   *   nothing says which row an update replaces
   */
  to(destination: TableDestination<T> | TopicDestination): void {
    const schema = this.#schemaFor(`${destination.kind} '${destination.name}'`)
    if (destination.kind === 'table') checkTableColumns(destination, schema)
    this.graph.add({
      kind: 'sink',
      name: destination.name,
      input: this.node,
      destination:
        destination.kind === 'table'
          ? {
              kind: 'table',
              name: destination.name,
              options: destination.options,
              key: upsertKey(this.node, destination),
            }
          : {
              kind: 'topic',
              name: destination.name,
              format: destination.format,
              topic: destination.topic ?? null,
              descriptions: destination.descriptions ?? {},
            },
      schema,
    })
  }

  #derive<R>(node: Node): Stream<R> {
    return new Stream<R>(this.graph, this.graph.add(node))
  }

  #schemaFor(place: string): AnySchema {
    return requireSchema(this.node, place)
  }
}

function requireSchema(node: Node, place: string): AnySchema {
  if (node.schema !== null) return node.schema
  throw new TopologyError(
    'SCHEMA_MISSING',
    `The stream into ${place} has no schema, since types are erased at run time. ` +
      `Name one at '${node.name}' by { as: schema(...) }.`,
  )
}

/** A stream whose equal groups are together. */
export class GroupedStream<T, K extends ColumnOf<T>> {
  readonly #graph: Graph
  readonly #stream: Stream<T>
  readonly #node: Node
  readonly #columns: readonly K[]

  constructor(graph: Graph, stream: Stream<T>, node: Node, columns: readonly K[]) {
    this.#graph = graph
    this.#stream = stream
    this.#node = node
    this.#columns = columns
  }

  window(windows: TumblingWindows): WindowedStream<T, K> {
    if (windows.emptyWindows) {
      throw new TopologyError(
        'BAD_OPTION',
        'emptyWindows is for aggregates over all records: with groups nobody knows which ones would be empty.',
      )
    }
    return new WindowedStream<T, K>(this.#graph, this.#node, windows, {
      stream: this.#stream,
      columns: this.#columns,
    })
  }
}

export class WindowedStream<T, K extends ColumnOf<T>> {
  readonly #graph: Graph
  readonly #node: Node
  readonly #windows: TumblingWindows
  readonly #group: { stream: Stream<T>; columns: readonly K[] } | null

  constructor(
    graph: Graph,
    node: Node,
    windows: TumblingWindows,
    group: { stream: Stream<T>; columns: readonly K[] } | null,
  ) {
    this.#graph = graph
    this.#node = node
    this.#windows = windows
    this.#group = group
  }

  /**
   * One row a window (and group): the group's columns, window_start, window_end, and a column for
   * each aggregate. Emitted once, when the window has closed, or as updates. What comes too late goes
   * to `.late`.
   * @throws TopologyError NOT_ON_UPDATES over a stream of updates, which it would count
   */
  aggregate<A extends Record<string, Aggregate<T, unknown>>>(
    name: string,
    aggregates: A,
    options: AggregateOptions = {},
  ): AggregatedStream<With<Pick<T, K> & WindowColumns, Results<A>>, With<T, LateColumns>> {
    refuseUpdates(this.#node, `aggregate '${name}'`, 'would count each of them')
    const keyColumns = this.#group?.columns ?? []
    const inputSchema = requireSchema(this.#node, `aggregate '${name}'`)
    const fields: Record<string, Field<any>> = {}
    for (const column of keyColumns) fields[column] = fieldOf(inputSchema, column, name)
    fields['window_start'] = timestamp()
    fields['window_end'] = timestamp()
    for (const [column, aggregate] of Object.entries(aggregates)) fields[column] = aggregate.field
    const schema = makeSchema(pascalCase(name), fields) as AnySchema
    const common = { windows: this.#windows, emit: options.emit ?? 'final', aggregates, keyColumns, schema }
    if (this.#group === null) {
      const partial = this.#graph.add({
        kind: 'window-partial',
        name: `${name}-partial`,
        input: this.#node,
        ...common,
      })
      const final = this.#graph.add({ kind: 'window-final', name, input: partial, ...common })
      return new AggregatedStream(this.#graph, final, partial, inputSchema)
    }
    const together = isKeyedBy(this.#node, keyColumns)
      ? this.#node
      : nodeOf(this.#group.stream.selectKey(keyText<T>(keyColumns)).repartition(`${name}-by-key`))
    const node = this.#graph.add({ kind: 'window', name, input: together, ...common })
    return new AggregatedStream(this.#graph, node, node, inputSchema)
  }
}

export interface AggregateOptions {
  /**
   * `final`: a row when its window has closed. `updates`: with each commit, in its transaction, a row with
   * the full values for each group and window that changed since the last one, and none more at the close:
   * the last update is the final row. Which values in between are seen depends on when commits fall; the
   * last does not. Default `final`.
   */
  readonly emit?: Emit
}

/** Rows of windows, and beside them the records that came too late for theirs. */
export class AggregatedStream<Row, Late> extends Stream<Row> {
  /** Routed to the topic `<name>-late` unless the pipeline sends it elsewhere: late records never vanish. */
  readonly late: Stream<Late>

  constructor(graph: Graph, node: Node, folding: WindowNode | PartialWindowNode, inputSchema: AnySchema) {
    super(graph, node)
    const late = graph.add({
      kind: 'late',
      name: `${node.name}-late-stream`,
      input: folding,
      schema: extend(
        inputSchema,
        {
          window_start: timestamp(),
          window_end: timestamp(),
          watermark: optional(timestamp()),
          late_mark: string(),
        },
        `${pascalCase(node.name)}Late`,
      ) as AnySchema,
    })
    this.late = new Stream<Late>(graph, late)
  }
}

function nodeOf(stream: Stream<any>): Node {
  return (stream as unknown as { node: Node }).node
}

/** Whether equal groups are in one task as they come: the records still lie where their source's key put them. */
function isKeyedBy(node: Node, columns: readonly string[]): boolean {
  switch (node.kind) {
    case 'source':
      return columns.length === 1 && columns[0] === node.contract.key
    case 'dedupe':
    case 'filter':
    case 'stamp':
      return isKeyedBy(node.input, columns)
    default:
      return false
  }
}

function fieldOf(schema: AnySchema, column: string, place: string): Field<any> {
  checkColumns(`'${place}' groups by`, [column], schema)
  return schema.fields.find((field) => field.name === column) as unknown as Field<any>
}

/** Text of some columns that no two different groups share: each part is preceded by its length. */
function keyText<T>(columns: readonly ColumnOf<T>[]): (value: T) => string {
  if (columns.length === 1) {
    const column = columns[0]!
    return (value) => textOf(value[column])
  }
  return (value) => {
    let text = ''
    for (const column of columns) {
      const part = textOf(value[column])
      text += `${part.length}:${part}`
    }
    return text
  }
}

/** null is told apart from every text by a leading NUL. */
function textOf(value: unknown): string {
  if (value === null || value === undefined) return '\0'
  const text = String(value as string | number | boolean)
  return text.startsWith('\0') ? `\0${text}` : text
}

function pascalCase(name: string): string {
  return name.replace(/(^|[^A-Za-z0-9]+)([A-Za-z0-9])/g, (_, __, letter: string) => letter.toUpperCase())
}
