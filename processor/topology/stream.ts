import type { Duration } from '../../schemas/duration.ts'
import { parseDurationMs } from '../../schemas/duration.ts'
import type { TableDestination, TopicDestination } from '../../schemas/destinations.ts'
import { extend, timestamp, type Field, type Schema } from '../../schemas/schema.ts'
import type { Aggregate } from '../windows/aggregates.ts'
import { reduceRows } from '../windows/reduce.ts'
import type { TumblingWindows } from '../windows/tumbling.ts'
import { checkColumns } from './columns.ts'
import {
  checkedVersion,
  TopologyError,
  versionedName,
  type AnySchema,
  type Graph,
  type Node,
  type PartialWindowNode,
  type WindowNode,
} from './graph.ts'
import { checkBranches } from './branch.ts'
import { isKeyedBy, keyText, repartitionNode, requireSchema, type ColumnOf } from './grouping.ts'
import { mergeNode } from './merge.ts'
import {
  lateSchema,
  rowSchema,
  type AggregateOptions,
  type LateColumns,
  type ReduceFunctions,
  type Results,
  type WindowColumns,
  type With,
} from './rows.ts'
import { addSink } from './sink.ts'
import { stallsNode, type Stall, type StallsOptions } from './stalls.ts'
import { refuseUpdates } from './updates.ts'

/** An unbounded sequence of values. Methods add nodes to the topology; nothing runs yet. */
export class Stream<T> {
  protected readonly graph: Graph
  protected readonly node: Node

  constructor(graph: Graph, node: Node) {
    this.graph = graph
    this.node = node
  }

  /** Each value becomes another. Give `as` where the result leaves its task (a table, a topic, a repartition). */
  map<R>(fn: (value: T) => NoInfer<R>, options: { as: Schema<R> }): Stream<R>
  map<R>(fn: (value: T) => R): Stream<R>
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
  flatMap<R>(fn: (value: T) => Iterable<NoInfer<R>> | null | undefined, options: { as: Schema<R> }): Stream<R>
  flatMap<R>(fn: (value: T) => Iterable<R> | null | undefined): Stream<R>
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

  /**
   * Calls `fn` with each value, for its effect: to log, to count, in a test. The values go on as they are, and what
   * `fn` returns is not awaited. It may be called again for a record that is processed again after a crash.
   */
  peek(fn: (value: T) => unknown): Stream<T> {
    return this.#derive({
      kind: 'peek',
      name: this.graph.autoName('peek'),
      input: this.node,
      fn,
      schema: this.node.schema,
    })
  }

  /**
   * Splits the stream: each value goes down the first branch, in the order written, whose predicate is true. `true`
   * for a predicate takes whatever is left, and stands last; without it that goes nowhere.
   *
   *     const { large, rest } = orders.branch({ large: (o) => o.amount >= 100, rest: true })
   *
   * @throws TopologyError BAD_OPTION
   */
  branch<const B extends Record<string, ((value: T) => boolean) | true>>(
    branches: B,
  ): { readonly [Name in keyof B]: Stream<T> } {
    const name = this.graph.autoName('branch')
    const entries = Object.entries(branches)
    checkBranches(name, entries)
    const { schema } = this.node
    const cases = entries.map(([branch, fn]) => ({ name: branch, fn: fn === true ? null : fn }))
    const node = this.graph.add({ kind: 'branch', name, input: this.node, cases, schema })
    const streams = cases.map((branch, index) => {
      const out = { kind: 'case', name: `${name}.${branch.name}`, input: node, index, schema } as const
      return [branch.name, this.#derive<T>(out)]
    })
    return Object.fromEntries(streams) as { readonly [Name in keyof B]: Stream<T> }
  }

  /**
   * This stream and others as one; it has come as far in time as the one that is furthest behind. All need the same
   * fields. Streams of different sources, or that were repartitioned in between, meet in a topic of this name, each
   * record in the partition of its key. Records of one key and one stream stay in order; those of different streams
   * come as they come.
   * @throws TopologyError BAD_OPTION where fields differ, SCHEMA_MISSING
   */
  merge(name: string, ...others: readonly [Stream<T>, ...Stream<T>[]]): Stream<T> {
    const inputs = [this.node, ...others.map(nodeOf)]
    return this.#derive(mergeNode(name, inputs, new Set(this.graph.nodes)))
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
    return this.#derive(repartitionNode(this.node, name, { name, version: 1 }))
  }

  /**
   * Drops repetitions: equal `id` columns with ingestion times no further apart than `horizon`
   * (default 24 h). The first by offset stays. A raised `version` forgets what was seen before.
   */
  dedupe(
    name: string,
    options: { id: readonly ColumnOf<T>[]; horizon?: Duration; version?: number },
  ): Stream<T> {
    const columns = options.id
    refuseUpdates(this.node, `dedupe '${name}'`, 'would drop them as repetitions')
    if (columns.length === 0) throw new TopologyError('BAD_OPTION', `dedupe '${name}': id names no column.`)
    if (this.node.schema !== null) checkColumns(`dedupe '${name}' compares`, columns, this.node.schema)
    const id = keyText<T>(columns)
    const owner = { name, version: checkedVersion(options.version ?? 1, `dedupe '${name}'`) }
    const keyed = nodeOf(this.selectKey(id))
    const together = this.graph.add(repartitionNode(keyed, `${versionedName(owner)}-by-id`, owner))
    const node = this.graph.add({
      kind: 'dedupe',
      name: versionedName(owner),
      owner,
      input: together,
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

  /**
   * Of a source's own stream: a row each time that nothing has come from the source for so long by the wall clock,
   * neither records nor heartbeats, until its input has ended. One for each stall, over crashes and restarts.
   *
   *     orders.stalls('orders-stalled', { after: '10m' }).to(topic('stalls'))
   *
   * @throws TopologyError BAD_OPTION for a stream that is no source's, or a topic that others write
   */
  stalls(name: string, options: StallsOptions): Stream<Stall> {
    return this.#derive(stallsNode(name, this.node, options))
  }

  /** All records in one group: aggregated in two stages, so that it scales with the partitions. */
  window(windows: TumblingWindows): WindowedStream<T, never> {
    return new WindowedStream<T, never>(this.graph, this.node, windows, null)
  }

  /**
   * Delivers to a table or a topic. The stream needs a schema. Updates replace each other in a table, by
   * group and window or by the table's `key`; a topic has them all. Several streams with the same fields may go to
   * one destination: keep it in a constant.
   * @throws TopologyError SCHEMA_MISSING, BAD_OPTION for a column that the rows do not have, or fields that the other
   *   streams into it do not have; NOT_ON_UPDATES where nothing says which row an update replaces
   */
  to(destination: TableDestination<T> | TopicDestination<T>): void {
    addSink(this.graph, this.node, destination)
  }

  #derive<R>(node: Node): Stream<R> {
    return new Stream<R>(this.graph, this.graph.add(node))
  }
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
    const fields = Object.entries(aggregates).map(([column, { field }]) => [column, field] as const)
    return this.#add(name, aggregates, Object.fromEntries(fields), options)
  }

  /**
   * All records of a window (and group) as one row: what `of` makes of each, two at a time by `combine`, which has
   * to be as {@link reduce} says. The group's columns, window_start, window_end, and those of the schema.
   *
   *     .reduce('largest', { of: ({ id, amount }) => ({ id, amount }), as: sale,
   *       combine: (a, b) => (b.amount > a.amount ? b : a) })
   *
   * @throws TopologyError as `aggregate`; BAD_OPTION with empty windows, which have nothing to reduce
   */
  reduce<R>(
    name: string,
    { of, combine, as }: ReduceFunctions<T, R>,
    options: AggregateOptions = {},
  ): AggregatedStream<With<Pick<T, K> & WindowColumns, R>, With<T, LateColumns>> {
    if (this.#windows.emptyWindows) {
      throw new TopologyError(
        'BAD_OPTION',
        `reduce '${name}': an empty window has nothing to reduce. Leave emptyWindows out, or reduce single columns ` +
          'by aggregate(…, { column: reduce(…) }), which are null there.',
      )
    }
    const fields = Object.fromEntries(as.fields.map(({ name: column, ...field }) => [column, field]))
    return this.#add(name, { reduce: reduceRows(of, combine, as) }, fields, options)
  }

  #add<Row, Late>(
    name: string,
    aggregates: Readonly<Record<string, Aggregate<any, unknown>>>,
    resultFields: Readonly<Record<string, Field<any>>>,
    options: AggregateOptions,
  ): AggregatedStream<Row, Late> {
    refuseUpdates(this.#node, `aggregate '${name}'`, 'would count each of them')
    const graph = this.#graph
    const keyColumns = this.#group?.columns ?? []
    const inputSchema = requireSchema(this.#node, `aggregate '${name}'`)
    const schema = rowSchema(name, inputSchema, keyColumns, resultFields)
    const owner = { name, version: checkedVersion(options.version ?? graph.version, `aggregate '${name}'`) }
    const kept = versionedName(owner)
    const emit = options.emit ?? 'final'
    const common = { owner, windows: this.#windows, emit, aggregates, keyColumns, schema }
    if (this.#group === null) {
      const input = this.#node
      const partial = graph.add({ kind: 'window-partial', name: `${kept}-partial`, input, ...common })
      const final = graph.add({ kind: 'window-final', name: kept, input: partial, ...common })
      return new AggregatedStream(graph, final, partial, inputSchema, name)
    }
    const together = isKeyedBy(this.#node, keyColumns)
      ? this.#node
      : graph.add(
          repartitionNode(
            nodeOf(this.#group.stream.selectKey(keyText<T>(keyColumns))),
            `${kept}-by-key`,
            owner,
          ),
        )
    const node = graph.add({ kind: 'window', name: kept, input: together, ...common })
    return new AggregatedStream(graph, node, node, inputSchema, name)
  }
}

/** Rows of windows, and beside them the records that came too late for theirs. */
export class AggregatedStream<Row, Late> extends Stream<Row> {
  /** Routed to the topic `<name>-late` unless the pipeline sends it elsewhere: late records never vanish. */
  readonly late: Stream<Late>

  /** @param name as the author gave it */
  constructor(
    graph: Graph,
    node: Node,
    folding: WindowNode | PartialWindowNode,
    inputSchema: AnySchema,
    name: string,
  ) {
    super(graph, node)
    const late = graph.add({
      kind: 'late',
      name: `${name}-late-stream`,
      input: folding,
      schema: lateSchema(name, inputSchema),
    })
    this.late = new Stream<Late>(graph, late)
  }
}

function nodeOf(stream: Stream<any>): Node {
  return (stream as unknown as { node: Node }).node
}
