import { STRIDE, KEY_END, KEY_START, VALUE_END, VALUE_START } from '../../../log/batch.ts'
import { SEGMENT_BYTES } from '../keys.ts'
import {
  assertNotOutlived,
  assertOurs,
  sameCheckpoint,
  sameLog,
  StateError,
  type StateBackend,
  type StateEntry,
  type StateMeta,
  type StateOwner,
  type StateWrite,
  type TaskState,
} from '../port.ts'

interface TaskCopy {
  meta: StateMeta
  taskRecord: Buffer | null
  entries: Map<string, Buffer>
}

/** State in this process' memory: for the test driver. It may be dropped at any time, as Redis may. */
export class MemoryState implements StateBackend {
  readonly #tasks = new Map<string, TaskCopy>()

  async takeOver(task: string, owner: StateOwner): Promise<TaskState> {
    const copy = this.#tasks.get(task)
    assertNotOutlived(task, copy?.meta, owner)
    if (copy !== undefined && sameLog(copy.meta, owner)) {
      const found = { meta: copy.meta, taskRecord: copy.taskRecord }
      copy.meta = { ...copy.meta, token: owner.token }
      return Promise.resolve(new MemoryTaskState(this.#tasks, task, owner, found))
    }
    return Promise.resolve(new MemoryTaskState(this.#tasks, task, owner, null))
  }

  /** Forgets everything, as a flushed server would. */
  flush(): void {
    this.#tasks.clear()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

class MemoryTaskState implements TaskState {
  readonly found: TaskState['found']
  readonly #tasks: Map<string, TaskCopy>
  readonly #task: string
  readonly #owner: StateOwner
  #incarnation: string | null

  constructor(tasks: Map<string, TaskCopy>, task: string, owner: StateOwner, found: TaskState['found']) {
    this.#tasks = tasks
    this.#task = task
    this.#owner = owner
    this.found = found
    this.#incarnation = found?.meta.incarnation ?? null
  }

  async newIncarnation(timeMs: number): Promise<StateMeta> {
    const { topicId, token } = this.#owner
    assertNotOutlived(this.#task, this.#tasks.get(this.#task)?.meta, this.#owner)
    const incarnation = `${topicId}/${token}`
    const meta = { ...this.#owner, incarnation, checkpoint: { changelog: 0, windows: 0 }, timeMs }
    this.#tasks.set(this.#task, { meta, taskRecord: null, entries: new Map() })
    this.#incarnation = incarnation
    return Promise.resolve(meta)
  }

  async readMany(keys: readonly Buffer[]): Promise<(Buffer | null)[]> {
    const { entries } = this.#ours()
    return Promise.resolve(keys.map((key) => entries.get(key.toString('latin1')) ?? null))
  }

  async *scan(prefix: Buffer): AsyncIterable<readonly StateEntry[]> {
    const start = prefix.toString('latin1')
    const found: StateEntry[] = []
    for (const [key, value] of this.#ours().entries) {
      if (key.startsWith(start)) found.push({ key: Buffer.from(key, 'latin1'), value })
    }
    yield await Promise.resolve(found)
  }

  async apply(write: StateWrite): Promise<void> {
    const copy = this.#ours()
    if (sameCheckpoint(copy.meta.checkpoint, write.end)) return
    if (!sameCheckpoint(copy.meta.checkpoint, write.base)) {
      throw new StateError('STATE_LOST', `${this.#task}: its checkpoint is not where this write begins`)
    }
    for (const { buffer, positions, count } of write.records) {
      for (let row = 0; row < count * STRIDE; row += STRIDE) {
        const key = buffer.subarray(positions[row + KEY_START]!, positions[row + KEY_END]!)
        if (write.skip?.(key.subarray(0, SEGMENT_BYTES)) === true) continue
        const end = positions[row + VALUE_END]!
        if (end < 0) copy.entries.delete(key.toString('latin1'))
        else
          copy.entries.set(
            key.toString('latin1'),
            Buffer.from(buffer.subarray(positions[row + VALUE_START]!, end)),
          )
      }
    }
    for (const prefix of write.dropPrefixes) {
      const start = prefix.toString('latin1')
      for (const key of copy.entries.keys()) if (key.startsWith(start)) copy.entries.delete(key)
    }
    if (write.taskRecord !== null) copy.taskRecord = Buffer.from(write.taskRecord)
    copy.meta = { ...copy.meta, checkpoint: write.end, timeMs: write.timeMs }
    return Promise.resolve()
  }

  #ours(): TaskCopy {
    const copy = this.#tasks.get(this.#task)
    assertOurs(this.#task, copy?.meta, this.#owner, this.#incarnation)
    return copy!
  }
}
