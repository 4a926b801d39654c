import type { TaskState } from '../../state/port.ts'
import type { WindowEntries } from '../../state/window-entries.ts'
import type { WindowStore } from '../../state/window-store.ts'
import { generateRow } from '../../../schemas/codec/row.ts'
import { textBetween } from '../../../schemas/codec/bytes.ts'
import type { FieldDefinition, Row } from '../../../schemas/schema.ts'
import type { Emit, WindowNode } from '../../topology/graph.ts'
import type { Cells } from '../../windows/cells.ts'
import type { RowAggregate } from '../../windows/row-aggregate.ts'
import { firstOpenStart, windowStartOf, type TumblingWindows } from '../../windows/tumbling.ts'
import type { RecordContext } from '../context.ts'
import type { Counters } from '../counters.ts'
import type { StreamTime } from '../time.ts'
import { isText, keySchema, type KeyBytes } from './key-bytes.ts'
import { RecordError, type Operator } from './operator.ts'
import { plainOf } from './stateless.ts'

/** What of a windowed operator goes into the task record. */
export interface WindowProgress {
  /** Windows that begin before this are closed. null: none yet. */
  readonly closedUpTo: number | null
  /** A window with records has been emitted: empty ones follow from here on. */
  readonly started: boolean
  readonly emptyRun: number
}

export interface WindowDependencies {
  readonly store: WindowStore
  readonly aggregate: RowAggregate
  readonly counters: Counters
  /** Time of the operator's input: the task's, or that of the windowed operator before it. */
  readonly time: StreamTime
  /** Stands for the operator's results in the order of records. */
  readonly origin: number
  /** Called with what went wrong downstream of a window's result. */
  readonly refuse: (error: RecordError, windowStartMs: number, row: unknown) => void
}

/** What of a windowed node its operator goes by. */
interface WindowDefinition {
  readonly name: string
  readonly windows: TumblingWindows
  readonly emit: Emit
}

/** Shared by the three kinds: when windows close, what time is passed on, what is remembered. */
export abstract class WindowOperator implements StreamTime {
  readonly name: string
  readonly windows: TumblingWindows
  protected readonly emitsUpdates: boolean
  readonly store: WindowStore
  protected readonly aggregate: RowAggregate
  protected readonly counters: Counters
  protected closedUpTo = -Infinity
  readonly #time: StreamTime

  constructor({ name, windows, emit }: WindowDefinition, dependencies: WindowDependencies) {
    this.name = name
    this.windows = windows
    this.emitsUpdates = emit === 'updates'
    this.store = dependencies.store
    this.aggregate = dependencies.aggregate
    this.counters = dependencies.counters
    this.#time = dependencies.time
  }

  /** The input's, but not past the end of the earliest window, existing or not, that is open (design §7). */
  get watermark(): number {
    const { watermark, e } = this.#time
    if (watermark === -Infinity) return -Infinity
    const open = Math.max(this.closedUpTo, firstOpenStart(this.windows, watermark, e))
    return Math.min(watermark, open + this.windows.sizeMs - 1)
  }

  /** Results of the windows that the end mark closed lie up to the end of the last of them. */
  get e(): number {
    const { e } = this.#time
    return e === -Infinity ? e : windowStartOf(e, this.windows.sizeMs) + this.windows.sizeMs - 1
  }

  /**
   * Emits the updates of what changed since the last commit, where the aggregate gives them, and closes what
   * time has passed, in the order (end, key).
   * @returns key prefixes that can be dropped
   */
  async close(state: TaskState, context: RecordContext): Promise<{ prefixes: Buffer[]; segments: number[] }> {
    if (this.emitsUpdates) await this.emitChanged(state, context)
    const until = firstOpenStart(this.windows, this.#time.watermark, this.#time.e)
    if (until <= this.closedUpTo) return { prefixes: [], segments: [] }
    if (this.emitsAtClose) {
      const windows = this.store
        .startsBetween(this.closedUpTo, until)
        .map((start) => this.store.window(start))
      for (const window of windows) await this.load(window, state)
      this.emitClosed(windows, until, context)
    }
    this.closedUpTo = until
    return this.store.closeBelow(until)
  }

  progress(): WindowProgress {
    return {
      closedUpTo: this.closedUpTo === -Infinity ? null : this.closedUpTo,
      started: false,
      emptyRun: 0,
    }
  }

  restore(progress: WindowProgress): void {
    this.closedUpTo = progress.closedUpTo ?? -Infinity
  }

  /** Whether closing gives rows; else what closes need not be read. The last update was the final row. */
  protected get emitsAtClose(): boolean {
    return !this.emitsUpdates
  }

  /** @param windows those that may hold something, in order; all are loaded */
  protected abstract emitClosed(
    windows: readonly WindowEntries[],
    untilMs: number,
    context: RecordContext,
  ): void

  protected abstract emitChanged(state: TaskState, context: RecordContext): Promise<void> | void

  protected async load(window: WindowEntries, state: TaskState): Promise<void> {
    if (!window.complete) await this.store.load(window, state)
  }
}

/** Makes the rows of windows and hands them on. */
export class WindowRows {
  /** The row's values in their order; `emit` fills in those behind the key columns. */
  readonly values: unknown[] = []
  readonly #keyColumns: number
  readonly #sizeMs: number
  readonly #aggregate: RowAggregate
  readonly #counters: Counters
  readonly #counter: string
  readonly #refuse: WindowDependencies['refuse']
  readonly #rowOf: (values: readonly unknown[]) => Row
  readonly #next: Operator
  readonly #origin: number
  #windowStartMs = NaN
  #rowsOfWindow = 0

  constructor(
    { name, windows, emit, keyColumns, schema }: WindowDefinition & Pick<WindowNode, 'keyColumns' | 'schema'>,
    { aggregate, counters, refuse, origin }: WindowDependencies,
    next: Operator,
  ) {
    this.#origin = origin
    this.#keyColumns = keyColumns.length
    this.#sizeMs = windows.sizeMs
    this.#aggregate = aggregate
    this.#counters = counters
    this.#counter = `${name}.${emit === 'updates' ? 'updates' : 'closed'}`
    this.#refuse = refuse
    this.#next = next
    const columns = [...keyColumns, 'window_start', 'window_end', ...aggregate.columns]
    this.#rowOf = generateRow(fieldsOf(schema.fields, columns))
  }

  /**
   * Emits a row, under the key that the context has been given. What an operator makes carries its own event time
   * as its watermark (design §7).
   */
  emit(windowStartMs: number, cells: Cells, at: number, context: RecordContext): void {
    const { values } = this
    if (windowStartMs !== this.#windowStartMs) {
      this.#windowStartMs = windowStartMs
      this.#rowsOfWindow = 0
    }
    const windowEndMs = windowStartMs + this.#sizeMs
    values[this.#keyColumns] = windowStartMs
    values[this.#keyColumns + 1] = windowEndMs
    this.#aggregate.results(cells, at, values, this.#keyColumns + 2)
    // A row each: what is given to a user's function is his to keep.
    const row = this.#rowOf(values)
    context.eventTimeMs = windowEndMs - 1
    context.origin = this.#origin
    context.offset = this.#rowsOfWindow++
    context.ordinal = 0
    context.watermarkMs = windowEndMs - 1
    context.e = -Infinity
    try {
      this.#next.process(row, context)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      this.#refuse(error, windowStartMs, row)
    }
  }

  /** Counts the rows of a commit. */
  count(rows: number): void {
    if (rows > 0) this.#counters.add(this.#counter, rows)
  }
}

/** Fields of a schema by name, in the names' order. */
function fieldsOf(fields: readonly FieldDefinition[], names: readonly string[]): FieldDefinition[] {
  return names.map((name) => fields.find((field) => field.name === name)!)
}

/** Folds records into windows; what comes too late goes to the late stream. */
export abstract class FoldingWindowOperator extends WindowOperator implements Operator {
  readonly #key: KeyBytes
  readonly #late: Operator
  readonly #lateCounter: string

  constructor(definition: WindowDefinition, dependencies: WindowDependencies, key: KeyBytes, late: Operator) {
    super(definition, dependencies)
    this.#key = key
    this.#late = late
    // Under the aggregate's own name: its stages are nobody's concern.
    this.#lateCounter = `${definition.name.replace(/-partial$/, '')}.late`
  }

  process(value: unknown, context: RecordContext): void {
    const { sizeMs, graceMs } = this.windows
    const start = windowStartOf(context.eventTimeMs, sizeMs)
    const mark =
      context.watermarkMs >= start + sizeMs + graceMs
        ? 'watermark'
        : start <= context.e
          ? 'end'
          : // Its source promised that it would not come: never so with our own sources.
            start < this.closedUpTo
            ? 'closed'
            : null
    if (mark !== null) {
      this.counters.add(this.#lateCounter, 1)
      this.#late.process(lateRow(value, start, sizeMs, context.watermarkMs, mark), context)
      return
    }
    try {
      this.aggregate.extract(value)
    } catch (error) {
      throw new RecordError(this.name, error)
    }
    const key = this.#key
    key.read(value)
    const window = this.store.window(start)
    const row = window.change(key.buffer, key.start, key.end, this.store.epoch)
    try {
      this.aggregate.prepare(window.cells, row, context)
    } catch (error) {
      throw new RecordError(this.name, error)
    }
    this.aggregate.add(window.cells, row, context)
  }

  want(value: unknown, context: RecordContext): void {
    const start = windowStartOf(context.eventTimeMs, this.windows.sizeMs)
    if (start < this.closedUpTo) return
    const key = this.#key
    key.read(value)
    this.store.want(start, key.buffer, key.start, key.end)
  }
}

function lateRow(value: unknown, start: number, sizeMs: number, watermarkMs: number, mark: string): unknown {
  return {
    ...plainOf(value),
    window_start: start,
    window_end: start + sizeMs,
    watermark: watermarkMs === -Infinity ? null : watermarkMs,
    late_mark: mark,
  }
}

/** Bytes are a view over the window's keys, which move when it grows; a row is whoever's it comes to. */
function kept(part: unknown): unknown {
  return part instanceof Uint8Array ? Buffer.from(part) : part
}

/** A keyed aggregate in one stage. */
export class SingleWindowOperator extends FoldingWindowOperator {
  readonly #rows: WindowRows
  readonly #columns: readonly string[]
  readonly #keyIsText: boolean
  /** Over the bytes of a key. */
  readonly #keyView: ReturnType<ReturnType<typeof keySchema>['view']>

  constructor(
    node: WindowNode,
    dependencies: WindowDependencies,
    key: KeyBytes,
    late: Operator,
    next: Operator,
  ) {
    super(node, dependencies, key, late)
    this.#rows = new WindowRows(node, dependencies, next)
    const columns = fieldsOf(node.schema.fields, node.keyColumns)
    this.#columns = node.keyColumns
    this.#keyIsText = isText(columns)
    this.#keyView = keySchema(columns).view()
  }

  protected emitClosed(windows: readonly WindowEntries[], _untilMs: number, context: RecordContext): void {
    for (const window of windows) {
      for (const slot of window.sortedSlots()) this.#emitRow(window, slot, context)
      this.#rows.count(window.keys.count)
    }
  }

  protected emitChanged(_state: TaskState, context: RecordContext): void {
    for (const window of this.store.changedWindows()) {
      for (let i = 0; i < window.changedCount; i++) this.#emitRow(window, window.changed[i]!, context)
      this.#rows.count(window.changedCount)
    }
  }

  #emitRow(window: WindowEntries, slot: number, context: RecordContext): void {
    const { keys, cells } = window
    const start = keys.startOf(slot)
    const end = keys.endOf(slot)
    const { values } = this.#rows
    if (this.#keyIsText) {
      // One text is its own key, as its readers expect.
      values[0] = textBetween(keys.keys, start, end)
      context.useKey(keys.keys, start, end)
    } else {
      this.#keyView.$wrap(keys.keys, start, end)
      const parts = this.#columns.map((column) => kept(this.#keyView[column]))
      for (const [i, part] of parts.entries()) values[i] = part
      context.useKeyText(JSON.stringify(parts))
    }
    this.#rows.emit(window.startMs, cells, window.rowOf(slot), context)
  }
}
