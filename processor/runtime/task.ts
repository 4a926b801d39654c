import { BatchBuilder, KEY_END, STRIDE, type RecordBatch } from '../../log/batch.ts'
import { decodeMark, MARK_HEADER, type TaskWatermark } from '../../schemas/marks.ts'
import type { Clock } from '../../config/clock.ts'
import type { CacheBudget } from '../state/cache-budget.ts'
import { segmentPrefix } from '../state/keys.ts'
import type { Checkpoint, StateOwner, TaskState } from '../state/port.ts'
import type { DedupeStore } from '../state/dedupe-store.ts'
import type { WindowStore } from '../state/window-store.ts'
import { taskId, type Plan, type SubTopology } from '../topology/plan.ts'
import { compile, type CompiledTask } from './compile.ts'
import { RecordContext } from './context.ts'
import { Counters } from './counters.ts'
import { DeadLetters } from './dead-letters.ts'
import { FrozenTask, type TaskSnapshot } from './frozen-task.ts'
import { RecordError } from './operators/operator.ts'
import type { Outputs } from './outputs.ts'
import { Quiet } from './quiet.ts'
import { OpenSegments, type TaskRecord } from './progress.ts'
import { SourceTime, UpstreamTime, type InputTime } from './time.ts'

export interface TaskDependencies {
  readonly plan: Plan
  readonly topologyHash: string
  readonly schemaIds: ReadonlyMap<string, number>
  readonly outputs: Outputs
  readonly budget: CacheBudget
  readonly clock: Clock
}

/** Where a task goes on from: what opening found (design §6, open step 5). */
export interface TaskStart {
  readonly inputTopicId: string
  readonly position: number
  readonly record: TaskRecord | null
  readonly state: TaskState
  readonly checkpoint: Checkpoint
  readonly owner: StateOwner
}

/** One sub-topology on one partition number: its operators, stores, time and position. */
export class Task {
  readonly id: string
  readonly sub: SubTopology
  readonly partition: number
  readonly counters = new Counters()
  /** The next offset of the input to process. */
  position: number
  readonly #dependencies: TaskDependencies
  readonly #inputTopicId: string
  #state: TaskState
  readonly #time: InputTime
  readonly #context: RecordContext
  readonly #compiled: CompiledTask
  readonly #stores: readonly (DedupeStore | WindowStore)[]
  readonly #deadLetters: DeadLetters
  readonly #segments = new OpenSegments()
  readonly #changelog: BatchBuilder
  readonly #records: BatchBuilder
  #checkpoint: Checkpoint
  #owner: StateOwner
  #deletedWindowsBefore = 0
  #moved = false
  readonly #quiet = new Quiet()
  #droppedPrefixes: Buffer[] = []
  #touched: { store: number; segmentMs: number; row: number }[] = []

  constructor(sub: SubTopology, partition: number, start: TaskStart, dependencies: TaskDependencies) {
    this.id = taskId(sub, partition)
    this.sub = sub
    this.partition = partition
    this.position = start.position
    this.#dependencies = dependencies
    this.#inputTopicId = start.inputTopicId
    this.#state = start.state
    this.#checkpoint = start.checkpoint
    this.#owner = start.owner
    const { plan, outputs, schemaIds, budget, clock } = dependencies
    this.#context = new RecordContext(outputs, partition)
    this.#changelog = new BatchBuilder(sub.windowsTopic, partition)
    this.#records = new BatchBuilder(sub.changelogTopic, partition)
    this.#deadLetters = new DeadLetters(plan, outputs, schemaIds, clock)
    this.#time = timeOf(sub, start.record)
    this.#compiled = compile(sub, {
      plan,
      schemaIds,
      time: this.#time,
      budget,
      counters: this.counters,
      partition,
      refuse: (error, atMs, row) => {
        const payload = Buffer.from(JSON.stringify(row))
        this.counters.add(`${sub.name}.refused`, 1)
        this.#deadLetters.add({ source: error.node, partition, position: atMs, error, payload })
      },
    })
    this.#stores = [...this.#compiled.dedupes, ...this.#compiled.windows].map(({ store }) => store)
    if (start.record !== null) this.#restore(start.record)
  }

  /** Of its changelogs, and under which token its state is ours. */
  get owner(): StateOwner {
    return this.#owner
  }

  /** Of its input; -Infinity: none yet. */
  get watermarkMs(): number {
    return this.#time.watermark
  }

  /** Goes on with its caches under a new token: its state is what it was when it was given up. */
  takeOver({ state, checkpoint, owner }: TaskStart): void {
    this.#state = state
    this.#checkpoint = checkpoint
    this.#owner = owner
  }

  get hasMoved(): boolean {
    return this.#moved
  }

  /** A first start commits its position before it runs. */
  markMoved(): void {
    this.#moved = true
  }

  /**
   * To be told after each poll in which nothing came for it.
   * @param isResting nothing could have come
   * @returns whether its source has been silent for so long that the next commit says so
   */
  noteQuiet(isResting: boolean): boolean {
    const { stalls } = this.#compiled
    if (stalls.length === 0) return false
    if (isResting) {
      this.#quiet.end()
      return false
    }
    this.#quiet.goesOn(this.#dependencies.clock.nowMs())
    if (!stalls.some((operator) => operator.isDue(this.#quiet.forMs))) return false
    this.#moved = true
    return true
  }

  /** Reads the stores that have to be in memory whole, once the task is opened. */
  async load(): Promise<void> {
    for (const { store } of this.#compiled.windows) await store.loadResident(this.#state)
  }

  /**
   * Processes a batch of the task's input: state that is missing is read at once, then all runs
   * synchronously. At most one promise a batch.
   */
  async process(batch: RecordBatch): Promise<void> {
    if (batch.nextOffset <= this.position) return
    this.#quiet.end()
    this.#evict()
    this.#context.nowMs = this.#dependencies.clock.nowMs()
    const reads = this.#prefetch(batch)
    if (reads.length > 0) await allOver(reads)
    const { reader, root } = this.#compiled
    const context = this.#context
    const { count, positions } = batch
    let records = 0
    for (let i = this.#firstRow(batch); i < count; i++) {
      if (positions[i * STRIDE + KEY_END]! < 0 && this.#isMark(batch, i)) {
        this.#observeMark(batch, i)
        continue
      }
      context.batch = batch
      context.index = i
      records++
      try {
        root.process(reader.read(batch, i, context), context)
      } catch (error) {
        this.#refuse(batch, i, error)
      }
    }
    if (batch.count > 0) this.#time.advanceIngestion(batch.timestampAt(batch.count - 1))
    this.counters.add(`${this.sub.name}.records`, records)
    this.position = batch.nextOffset
    this.#moved = true
  }

  /**
   * Commit step 1: closes the windows that time has passed and the write buffers, and says what
   * goes into the transaction. Processing may go on into the next buffers afterwards.
   */
  async freeze(): Promise<FrozenTask> {
    this.#context.nowMs = this.#dependencies.clock.nowMs()
    // What windows emit was taken in when the records that closed them were.
    this.#context.ingestionMs = this.#time.ingested
    // In front of the windows, which may fold it.
    for (const operator of this.#compiled.stalls) {
      if (operator.isDue(this.#quiet.forMs)) operator.tell(this.#context)
    }
    for (const operator of this.#compiled.windows) {
      const { prefixes, segments } = await operator.close(this.#state, this.#context)
      this.#droppedPrefixes.push(...prefixes)
      this.#segments.close(operator.store.id, segments)
    }
    for (const { store } of this.#compiled.dedupes) {
      const { prefixes, segments } = store.expire(this.#time.ingested)
      this.#droppedPrefixes.push(...prefixes)
      this.#segments.close(store.id, segments)
    }
    for (const store of this.#stores) {
      store.freeze(this.#changelog, (segmentMs, row) => {
        if (!this.#segments.has(store.id, segmentMs)) this.#touched.push({ store: store.id, segmentMs, row })
      })
    }
    this.#moved = false
    const dropped = this.#droppedPrefixes
    this.#droppedPrefixes = []
    return new FrozenTask({
      task: this,
      position: this.position,
      changelog: this.#changelog,
      records: this.#records,
      droppedPrefixes: dropped,
      base: this.#checkpoint,
      state: this.#state,
      snapshot: {
        time: this.#time.snapshot(),
        windows: Object.fromEntries(
          this.#compiled.windows.map((operator) => [operator.name, operator.progress()]),
        ),
        counters: this.counters.snapshot(),
        ...this.#stallsProgress(),
      },
    })
  }

  /** What the task promises downstream, by boundary topic. Valid right after `freeze`. */
  promises(): { topic: string; partitions: number; time: TaskWatermark }[] {
    return this.#compiled.boundaries.map(({ topic, partitions, time }) => ({
      topic,
      partitions,
      time: {
        task: this.id,
        ...(time.watermark === -Infinity ? {} : { watermark: time.watermark }),
        ...(time.e === -Infinity ? {} : { e: time.e }),
        ...(this.#time.ingested === -Infinity ? {} : { ingested: this.#time.ingested }),
      },
    }))
  }

  /** @internal Commit step 2: the segments that begin with the changelog batch sent at `baseOffset`. */
  noteSegments(baseOffset: number): void {
    for (const { store, segmentMs, row } of this.#touched)
      this.#segments.note(store, segmentMs, baseOffset + row)
    this.#touched = []
  }

  /** @internal The parts of a task record that are the task's own. */
  recordOf(position: number, windowsEnd: number, snapshot: TaskSnapshot): TaskRecord {
    return {
      version: 1,
      topologyHash: this.#dependencies.topologyHash,
      inputs: [
        { topic: this.sub.inputTopic, topicId: this.#inputTopicId, offset: position, time: snapshot.time },
      ],
      windows: snapshot.windows,
      segments: this.#segments.snapshot(),
      windowsEnd,
      counters: snapshot.counters,
      ...(snapshot.stalls && { stalls: snapshot.stalls }),
    }
  }

  /**
   * Where `-windows` can be cut off: below it lie closed segments only. null where nothing more can
   * go than last time. Valid after `release`.
   */
  takeDeletableWindows(): number | null {
    const before = this.#segments.leastOffset() ?? this.#checkpoint.windows
    if (before <= this.#deletedWindowsBefore) return null
    this.#deletedWindowsBefore = before
    return before
  }

  /** Commit step 6: what was frozen is applied. */
  release(checkpoint: Checkpoint): void {
    this.#checkpoint = checkpoint
    this.#changelog.clear()
    this.#records.clear()
    for (const store of this.#stores) store.release()
  }

  dispose(): void {
    for (const store of this.#stores) store.dispose()
  }

  #evict(): void {
    if (this.#dependencies.budget.excessBytes <= 0) return
    for (const store of this.#stores) store.evict()
  }

  /** Looks ahead over the batch where state is not all in memory, and reads what will be touched. */
  #prefetch(batch: RecordBatch): Promise<void>[] {
    if (!this.#stores.some(({ partlyInState }) => partlyInState)) return []
    const { reader, root } = this.#compiled
    const context = this.#context
    for (let i = this.#firstRow(batch); i < batch.count; i++) {
      if (batch.positions[i * STRIDE + KEY_END]! < 0 && batch.headerAt(i, MARK_HEADER) !== undefined) continue
      context.batch = batch
      context.index = i
      try {
        root.want?.(reader.read(batch, i, context), context)
      } catch (error) {
        // Processing the record will meet the same and refuse it.
        if (!isAboutRecord(error)) throw error
      }
    }
    return this.#stores.map((store) => store.prefetch(this.#state)).filter((read) => read !== null)
  }

  /** A batch may begin before the position (a seek into its middle). */
  #firstRow(batch: RecordBatch): number {
    let row = 0
    if (batch.baseOffset >= this.position) return row
    while (row < batch.count && batch.offsetAt(row) < this.position) row++
    return row
  }

  #isMark(batch: RecordBatch, index: number): boolean {
    return batch.hasHeaders(index) && batch.headerAt(index, MARK_HEADER) !== undefined
  }

  #observeMark(batch: RecordBatch, index: number): void {
    try {
      this.#time.observe(decodeMark(batch.valueAt(index)), batch.timestampAt(index))
    } catch (error) {
      this.#refuse(batch, index, error)
    }
  }

  #refuse(batch: RecordBatch, index: number, error: unknown): void {
    if (!isAboutRecord(error)) throw error
    this.counters.add(`${this.sub.name}.refused`, 1)
    this.#deadLetters.add({
      source: batch.topic,
      partition: batch.partition,
      position: batch.offsetAt(index),
      error,
      payload: batch.valueAt(index) ?? Buffer.alloc(0),
    })
  }

  #restore(record: TaskRecord): void {
    this.counters.restore(record.counters)
    this.#segments.restore(record.segments)
    this.#letGoOfOthers(record)
    for (const operator of this.#compiled.windows) {
      const progress = record.windows[operator.name]
      if (progress !== undefined) operator.restore(progress)
      operator.store.restore(this.#segments.of(operator.store.id))
    }
    for (const { store } of this.#compiled.dedupes) store.restore(this.#segments.of(store.id))
    for (const operator of this.#compiled.stalls) operator.restore(record.stalls?.[operator.name])
  }

  #stallsProgress(): Pick<TaskRecord, 'stalls'> {
    const { stalls } = this.#compiled
    if (stalls.length === 0) return {}
    return { stalls: Object.fromEntries(stalls.map((operator) => [operator.name, operator.progress()])) }
  }

  /** Stores that the topology has no more: their segments would be open for ever. */
  #letGoOfOthers({ segments }: TaskRecord): void {
    const known = new Set(this.#stores.map(({ id }) => id))
    for (const [id, firsts] of Object.entries(segments)) {
      const store = Number(id)
      if (known.has(store)) continue
      this.#segments.forget(store)
      this.#droppedPrefixes.push(...Object.keys(firsts).map((start) => segmentPrefix(store, Number(start))))
    }
  }
}

function timeOf(sub: SubTopology, record: TaskRecord | null): InputTime {
  const snapshot = record?.inputs.find(({ topic }) => topic === sub.inputTopic)?.time
  if (sub.upstreams.length === 0) return new SourceTime(snapshot)
  const tasks = sub.upstreams.flatMap((upstream) =>
    Array.from({ length: upstream.partitions }, (_, partition) => taskId(upstream, partition)),
  )
  return new UpstreamTime(tasks, snapshot)
}

/** Errors about the record's content; everything else is about us, and stops. */
function isAboutRecord(error: unknown): error is Error {
  if (error instanceof RecordError) return true
  const code = (error as { code?: unknown } | null)?.code
  return code === 'MALFORMED_RECORD' || code === 'UNKNOWN_WIRE_FORMAT' || code === 'NOT_AGGREGATABLE'
}

/** As `Promise.all`, but an error is not thrown before the others are over as well: they use the stores' memory. */
async function allOver(reads: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(reads))
    if (outcome.status === 'rejected') throw outcome.reason
}
