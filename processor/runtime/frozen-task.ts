import type { BatchBuilder } from '../../log/batch.ts'
import type { Checkpoint, TaskState } from '../state/port.ts'
import { encodeTaskRecord, TASK_RECORD_KEY, type TaskRecord } from './progress.ts'
import type { Task } from './task.ts'

/** The parts of a task record taken when the buffers were closed. */
export interface TaskSnapshot extends Pick<TaskRecord, 'windows' | 'counters' | 'stalls'> {
  readonly time: TaskRecord['inputs'][number]['time']
}

export interface FrozenParts {
  readonly task: Task
  /** The next offset of the input behind what the commit covers. */
  readonly position: number
  /** Full values of every changed entry, for `-windows`. */
  readonly changelog: BatchBuilder
  /** For `-changelog`; empty. */
  readonly records: BatchBuilder
  readonly droppedPrefixes: readonly Buffer[]
  /** The checkpoint that the changes build on. */
  readonly base: Checkpoint
  readonly state: TaskState
  readonly snapshot: TaskSnapshot
}

/** A task's share of a commit, closed off from the processing that goes on. */
export class FrozenTask {
  readonly task: Task
  readonly position: number
  /** Full values of every changed entry, for `-windows`. */
  readonly changelog: BatchBuilder
  readonly #parts: FrozenParts
  #end: Checkpoint
  #taskRecord: Buffer | null = null

  constructor(parts: FrozenParts) {
    this.task = parts.task
    this.position = parts.position
    this.changelog = parts.changelog
    this.#parts = parts
    this.#end = parts.base
  }

  /** Commit step 2, behind the changelog: the task record, which knows where its segments begin. */
  taskRecordAfter(windowsOffset: number | null): BatchBuilder {
    if (windowsOffset !== null) {
      this.task.noteSegments(windowsOffset)
      this.#end = { ...this.#end, windows: windowsOffset + this.changelog.count }
    }
    this.#taskRecord = encodeTaskRecord(
      this.task.recordOf(this.position, this.#end.windows, this.#parts.snapshot),
    )
    this.#parts.records.append(TASK_RECORD_KEY, this.#taskRecord)
    return this.#parts.records
  }

  taskRecordSent(offset: number): void {
    this.#end = { ...this.#end, changelog: offset + 1 }
  }

  /** Commit step 5. @throws StateError */
  async apply(timeMs: number): Promise<void> {
    await this.#parts.state.apply({
      records: [this.changelog],
      dropPrefixes: this.#parts.droppedPrefixes,
      taskRecord: this.#taskRecord,
      base: this.#parts.base,
      end: this.#end,
      timeMs,
    })
  }

  /** Commit step 6. */
  release(): void {
    this.task.release(this.#end)
  }
}
