import type { TaskState } from '../../state/port.ts'
import type { WindowStore } from '../../state/window-store.ts'
import type { Emit, FinalWindowNode, PartialWindowNode, WindowNode } from '../../topology/graph.ts'
import type { Accumulators, RowAggregate } from '../../windows/row-aggregate.ts'
import { firstOpenStart, windowStartOf, type TumblingWindows } from '../../windows/tumbling.ts'
import type { RecordContext } from '../context.ts'
import type { Counters } from '../counters.ts'
import { PARTIAL_HEADER_BYTES, writePartialHeader } from '../envelope.ts'
import type { StreamTime } from '../time.ts'
import { RecordError, type Operator } from './operator.ts'
import type { TopicTarget } from './stateless.ts'

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
  protected readonly refuse: WindowDependencies['refuse']
  protected closedUpTo = -Infinity
  readonly #time: StreamTime
  readonly #counter: string

  constructor({ name, windows, emit }: WindowDefinition, dependencies: WindowDependencies) {
    this.name = name
    this.windows = windows
    this.emitsUpdates = emit === 'updates'
    this.store = dependencies.store
    this.aggregate = dependencies.aggregate
    this.counters = dependencies.counters
    this.refuse = dependencies.refuse
    this.#time = dependencies.time
    this.#counter = `${name}.${this.emitsUpdates ? 'updates' : 'closed'}`
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
      const starts = this.store.startsBetween(this.closedUpTo, until)
      for (const start of starts) await this.load(start, state)
      this.emitClosed(starts, until, context)
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

  /** @param starts of the windows that may hold something, in order; all are loaded */
  protected abstract emitClosed(starts: readonly number[], untilMs: number, context: RecordContext): void

  protected abstract emitChanged(state: TaskState, context: RecordContext): Promise<void> | void

  protected async load(windowStartMs: number, state: TaskState): Promise<void> {
    if (!this.store.isLoaded(windowStartMs)) await this.store.load(windowStartMs, state)
  }

  /** Emits a window's row. What an operator makes carries its own event time as its watermark (design §7). */
  protected emit(
    next: Operator,
    row: Record<string, unknown>,
    windowStartMs: number,
    accumulators: Accumulators,
    key: string | null,
    context: RecordContext,
  ): void {
    const windowEndMs = windowStartMs + this.windows.sizeMs
    row['window_start'] = windowStartMs
    row['window_end'] = windowEndMs
    this.aggregate.results(accumulators, row)
    context.eventTimeMs = windowEndMs - 1
    context.watermarkMs = windowEndMs - 1
    context.e = -Infinity
    context.keyText = key
    context.batch = null
    this.counters.add(this.#counter, 1)
    try {
      next.process(row, context)
    } catch (error) {
      if (!(error instanceof RecordError)) throw error
      this.refuse(error, windowStartMs, row)
    }
  }
}

/** Folds records into windows; what comes too late goes to the late stream. */
abstract class FoldingWindowOperator extends WindowOperator implements Operator {
  readonly #late: Operator
  readonly #lateCounter: string

  constructor(definition: WindowDefinition, dependencies: WindowDependencies, late: Operator) {
    super(definition, dependencies)
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
    this.aggregate.add(this.store.change(start, this.keyOf(value)))
  }

  want(value: unknown, context: RecordContext): void {
    const start = windowStartOf(context.eventTimeMs, this.windows.sizeMs)
    if (start >= this.closedUpTo) this.store.want(start, this.keyOf(value))
  }

  protected abstract keyOf(value: unknown): string
}

function lateRow(value: unknown, start: number, sizeMs: number, watermarkMs: number, mark: string): unknown {
  const view = value as { toObject?(): object }
  return {
    ...(typeof view.toObject === 'function' ? view.toObject() : view),
    window_start: start,
    window_end: start + sizeMs,
    watermark: watermarkMs === -Infinity ? null : watermarkMs,
    late_mark: mark,
  }
}

/** A keyed aggregate in one stage. */
export class SingleWindowOperator extends FoldingWindowOperator {
  readonly #node: WindowNode
  readonly #next: Operator

  constructor(node: WindowNode, dependencies: WindowDependencies, late: Operator, next: Operator) {
    super(node, dependencies, late)
    this.#node = node
    this.#next = next
  }

  protected keyOf(value: unknown): string {
    // The key's parts are stored with it, since the results name them: JSON of the key columns.
    return JSON.stringify(
      this.#node.keyColumns.map((column) => (value as Record<string, unknown>)[column] ?? null),
    )
  }

  protected emitClosed(starts: readonly number[], _untilMs: number, context: RecordContext): void {
    for (const start of starts) {
      for (const [key, accumulators] of this.store.entriesOf(start)) {
        this.#emitRow(start, key, accumulators, context)
      }
    }
  }

  protected emitChanged(_state: TaskState, context: RecordContext): void {
    this.store.forEachChange((start, key, accumulators) => this.#emitRow(start, key, accumulators, context))
  }

  #emitRow(start: number, key: string, accumulators: Accumulators, context: RecordContext): void {
    const row: Record<string, unknown> = {}
    const parts = JSON.parse(key) as unknown[]
    this.#node.keyColumns.forEach((column, i) => (row[column] = parts[i]))
    // One text is its own key, as its readers expect; what else there is is told apart as JSON.
    const recordKey = parts.length === 1 && typeof parts[0] === 'string' ? parts[0] : key
    this.emit(this.#next, row, start, accumulators, recordKey, context)
  }
}

/**
 * First stage of a keyless aggregate: closed windows, or those that changed, go on as partials, to one
 * partition.
 */
export class PartialWindowOperator extends FoldingWindowOperator {
  readonly #target: TopicTarget

  constructor(
    node: PartialWindowNode,
    dependencies: WindowDependencies,
    late: Operator,
    target: TopicTarget,
  ) {
    super(node, dependencies, late)
    this.#target = target
  }

  protected keyOf(): string {
    return ''
  }

  protected emitClosed(starts: readonly number[], _untilMs: number, context: RecordContext): void {
    for (const start of starts) {
      for (const [, accumulators] of this.store.entriesOf(start))
        this.#emitPartial(start, accumulators, context)
    }
  }

  protected emitChanged(_state: TaskState, context: RecordContext): void {
    this.store.forEachChange((start, _key, accumulators) => this.#emitPartial(start, accumulators, context))
  }

  #emitPartial(start: number, accumulators: Accumulators, context: RecordContext): void {
    const builder = context.outputs.builder(this.#target.topic, 0)
    builder.beginKey()
    builder.beginValue(true)
    writePartialHeader(builder.writer, context.partition, start)
    this.aggregate.write(builder.writer, accumulators)
    builder.end()
  }
}

/** Second stage: merges the partials of all upstream tasks. Its grace is 0: partials are never late. */
export class FinalWindowOperator extends WindowOperator implements Operator {
  readonly #next: Operator
  #started = false
  #emptyRun = 0

  constructor(node: FinalWindowNode, dependencies: WindowDependencies, next: Operator) {
    super({ ...node, windows: { ...node.windows, graceMs: 0 } }, dependencies)
    this.#next = next
  }

  /** The value is the partial's bytes; a partial replaces its upstream task's previous one. */
  process(value: unknown): void {
    const { start, upstream, reader } = readPartial(value as Buffer)
    if (start < this.closedUpTo) {
      // Upstream closes a window before it promises that it has: this would be a fault of the protocol.
      throw new Error(`${this.name}: a partial of the window ${start} came after the window was closed`)
    }
    this.store.replace(start, upstream, this.aggregate.read(reader))
  }

  want(value: unknown): void {
    const { start, upstream } = readPartial(value as Buffer)
    if (start >= this.closedUpTo) this.store.want(start, upstream)
  }

  override progress(): WindowProgress {
    return { ...super.progress(), started: this.#started, emptyRun: this.#emptyRun }
  }

  override restore(progress: WindowProgress): void {
    super.restore(progress)
    this.#started = progress.started
    this.#emptyRun = progress.emptyRun
  }

  /** Empty windows have no update. */
  protected override get emitsAtClose(): boolean {
    return !this.emitsUpdates || this.windows.emptyWindows
  }

  protected async emitChanged(state: TaskState, context: RecordContext): Promise<void> {
    const starts = new Set<number>()
    this.store.forEachChange((start) => starts.add(start))
    for (const start of [...starts].sort((a, b) => a - b)) {
      // The other upstream tasks' partials may have been let go.
      await this.load(start, state)
      this.#emitMerged(start, this.store.entriesOf(start), context)
    }
  }

  protected emitClosed(starts: readonly number[], untilMs: number, context: RecordContext): void {
    const filled = starts
      .map((start) => ({ start, partials: this.store.entriesOf(start) }))
      .filter(({ partials }) => partials.length > 0)
    let cursor = this.closedUpTo
    for (const { start, partials } of filled) {
      if (this.#started) this.#emitEmpty(cursor, start, context)
      if (!this.emitsUpdates) this.#emitMerged(start, partials, context)
      this.#started = true
      this.#emptyRun = 0
      cursor = start + this.windows.sizeMs
    }
    if (this.#started) this.#emitEmpty(cursor, untilMs, context)
  }

  #emitMerged(start: number, partials: readonly [string, Accumulators][], context: RecordContext): void {
    const merged = this.aggregate.create()
    for (const [, partial] of partials) this.aggregate.merge(merged, partial)
    this.emit(this.#next, {}, start, merged, null, context)
  }

  #emitEmpty(fromMs: number, untilMs: number, context: RecordContext): void {
    const { emptyWindows, maxEmptyWindows, sizeMs } = this.windows
    if (!emptyWindows) return
    let start = fromMs
    for (; start < untilMs && this.#emptyRun < maxEmptyWindows; start += sizeMs) {
      this.emit(this.#next, {}, start, this.aggregate.create(), null, context)
      this.#emptyRun++
    }
    // Said by the counter: the summary names it.
    if (start < untilMs) this.counters.add(`${this.name}.emptySkipped`, (untilMs - start) / sizeMs)
  }
}

function readPartial(value: Buffer): {
  start: number
  upstream: string
  reader: { buffer: Buffer; position: number }
} {
  return {
    upstream: String(value.readUInt32LE(0)),
    start: value.readDoubleLE(4),
    reader: { buffer: value, position: PARTIAL_HEADER_BYTES },
  }
}
