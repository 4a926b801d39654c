import type { TaskState } from '../../state/port.ts'
import type { WindowEntries } from '../../state/window-entries.ts'
import type { FinalWindowNode, PartialWindowNode } from '../../topology/graph.ts'
import type { Cells } from '../../windows/cells.ts'
import type { RecordContext } from '../context.ts'
import { PARTIAL_HEADER_BYTES, partialWindowStart, UPSTREAM_BYTES, writePartialHeader } from '../envelope.ts'
import type { KeyBytes } from './key-bytes.ts'
import { RecordError, type Operator } from './operator.ts'
import type { TopicTarget } from './stateless.ts'
import {
  FoldingWindowOperator,
  WindowOperator,
  WindowRows,
  type WindowDependencies,
  type WindowProgress,
} from './window.ts'

/** A keyless aggregate has one entry a window. */
const NO_KEY: KeyBytes = { buffer: Buffer.alloc(0), start: 0, end: 0, read: () => undefined }

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
    super(node, dependencies, NO_KEY, late)
    this.#target = target
  }

  protected emitClosed(windows: readonly WindowEntries[], _untilMs: number, context: RecordContext): void {
    for (const window of windows) {
      for (let slot = 0; slot < window.keys.count; slot++) this.#emitPartial(window, slot, context)
    }
  }

  protected emitChanged(_state: TaskState, context: RecordContext): void {
    for (const window of this.store.changedWindows()) {
      for (let i = 0; i < window.changedCount; i++) this.#emitPartial(window, window.changed[i]!, context)
    }
  }

  #emitPartial(window: WindowEntries, slot: number, context: RecordContext): void {
    const builder = context.outputs.builder(this.#target.topic, 0)
    builder.beginKey()
    builder.beginValue(true)
    writePartialHeader(builder.writer, context.partition, window.startMs)
    this.aggregate.write(builder.writer, window.cells, window.rowOf(slot))
    builder.end()
  }
}

/** Second stage: merges the partials of all upstream tasks. Its grace is 0: partials are never late. */
export class FinalWindowOperator extends WindowOperator implements Operator {
  readonly #rows: WindowRows
  readonly #merged: Cells
  readonly #refuse: WindowDependencies['refuse']
  #started = false
  #emptyRun = 0

  constructor(node: FinalWindowNode, dependencies: WindowDependencies, next: Operator) {
    super({ ...node, windows: { ...node.windows, graceMs: 0 } }, dependencies)
    this.#rows = new WindowRows(node, dependencies, next)
    this.#merged = dependencies.aggregate.newRow()
    this.#refuse = dependencies.refuse
  }

  /** The value is the partial's bytes; a partial replaces its upstream task's previous one. */
  process(value: unknown): void {
    const partial = value as Buffer
    const start = partialWindowStart(partial)
    if (start < this.closedUpTo) {
      // Upstream closes a window before it promises that it has: this would be a fault of the protocol.
      throw new Error(`${this.name}: a partial of the window ${start} came after the window was closed`)
    }
    const window = this.store.window(start)
    const row = window.change(partial, 0, UPSTREAM_BYTES, this.store.epoch)
    window.cells.clear(row, row + this.aggregate.width)
    this.aggregate.read({ buffer: partial, position: PARTIAL_HEADER_BYTES }, window.cells, row)
  }

  want(value: unknown): void {
    const partial = value as Buffer
    const start = partialWindowStart(partial)
    if (start >= this.closedUpTo) this.store.want(start, partial, 0, UPSTREAM_BYTES)
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
    const windows = [...this.store.changedWindows()].sort((a, b) => a.startMs - b.startMs)
    for (const window of windows) {
      // The other upstream tasks' partials may have been let go.
      await this.load(window, state)
      this.#emitMerged(window, context)
    }
  }

  protected emitClosed(windows: readonly WindowEntries[], untilMs: number, context: RecordContext): void {
    let cursor = this.closedUpTo
    for (const window of windows) {
      if (window.keys.count === 0) continue
      if (this.#started) this.#emitEmpty(cursor, window.startMs, context)
      if (!this.emitsUpdates) this.#emitMerged(window, context)
      this.#started = true
      this.#emptyRun = 0
      cursor = window.startMs + this.windows.sizeMs
    }
    if (this.#started) this.#emitEmpty(cursor, untilMs, context)
  }

  #emitMerged(window: WindowEntries, context: RecordContext): void {
    this.#clearMerged()
    try {
      for (let slot = 0; slot < window.keys.count; slot++) {
        this.aggregate.merge(this.#merged, 0, window.cells, window.rowOf(slot))
      }
    } catch (error) {
      // A function of the author's: the row that it would have made becomes a dead letter.
      this.#refuse(new RecordError(this.name, error), window.startMs, { window_start: window.startMs })
      return
    }
    context.useKeyText(null)
    this.#rows.emit(window.startMs, this.#merged, 0, context)
    this.#rows.count(1)
  }

  #emitEmpty(fromMs: number, untilMs: number, context: RecordContext): void {
    const { emptyWindows, maxEmptyWindows, sizeMs } = this.windows
    if (!emptyWindows) return
    this.#clearMerged()
    let start = fromMs
    for (; start < untilMs && this.#emptyRun < maxEmptyWindows; start += sizeMs) {
      context.useKeyText(null)
      this.#rows.emit(start, this.#merged, 0, context)
      this.#rows.count(1)
      this.#emptyRun++
    }
    // Said by the counter: the summary names it.
    if (start < untilMs) this.counters.add(`${this.name}.emptySkipped`, (untilMs - start) / sizeMs)
  }

  #clearMerged(): void {
    this.#merged.clear(0, this.aggregate.width)
  }
}
