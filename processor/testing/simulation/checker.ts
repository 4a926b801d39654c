import type { SimulatedCluster } from '../../../log/simulated/cluster.ts'
import type { Inspected, SimulatedPartition } from '../../../log/simulated/partition.ts'
import { processGroupId } from '../../runtime/lag.ts'
import { decodeTaskRecord, TASK_RECORD_KEY, type TaskRecord } from '../../runtime/progress.ts'
import { segmentOf, storeOf } from '../../state/keys.ts'
import { sameLog, type StateMeta } from '../../state/port.ts'
import { taskId, type Plan, type SubTopology } from '../../topology/plan.ts'
import { actualOutputs, differences, expectedOutputs } from './reference.ts'
import type { SimulatedRedis } from './redis-server.ts'
import { wrongStalls } from './stalls.ts'

interface TaskPlace {
  readonly sub: SubTopology
  readonly partition: number
}

/** What must hold, whatever happens: some of it at every moment, the rest when all has been done. */
export class Checker {
  readonly #cluster: SimulatedCluster
  readonly #redis: SimulatedRedis
  readonly #plan: Plan
  readonly #tasks = new Map<string, TaskPlace>()
  /** What a checkpoint has passed while it was undecided. */
  readonly #passed = new Map<Inspected, string>()

  constructor(cluster: SimulatedCluster, redis: SimulatedRedis, plan: Plan) {
    this.#cluster = cluster
    this.#redis = redis
    this.#plan = plan
    for (const sub of plan.subTopologies) {
      for (let partition = 0; partition < sub.partitions; partition++) {
        this.#tasks.set(taskId(sub, partition), { sub, partition })
      }
    }
  }

  /** After a change of a task's meta. @returns what is violated; null: nothing */
  metaChanged(task: string, meta: StateMeta, before: StateMeta | null): string | null {
    if (meta.clusterId !== this.#cluster.clusterId) return null
    const [changelog, windows] = this.#changelogs(this.#tasks.get(task)!)
    this.#notePassed(changelog, meta.checkpoint.changelog)
    this.#notePassed(windows, meta.checkpoint.windows)
    if (before !== null && sameLog(before, meta) && meta.token < before.token) {
      return `${task}: its token went back from ${before.token} to ${meta.token}`
    }
    return null
  }

  /** A checkpoint may pass what is undecided only where that will never be committed: a zombie's. */
  #notePassed(partition: SimulatedPartition, checkpoint: number): void {
    if (partition.stable >= checkpoint) return
    for (const stored of partition.inspect()) {
      const isBelow = stored.batch.baseOffset < checkpoint
      if (isBelow && stored.fate === 'open' && !this.#cluster.transactions.isCommitted(stored.producerId)) {
        this.#passed.set(stored, `${partition.name} at ${stored.batch.baseOffset}, passed by ${checkpoint}`)
      }
    }
  }

  /** Everything that was written is processed, and nothing is undecided. */
  get isQuiet(): boolean {
    for (const { partitions } of this.#cluster.topics) {
      for (const partition of partitions) if (partition.stable < partition.end) return false
    }
    const group = this.#cluster.group(processGroupId(this.#plan.application))
    for (const [task, { sub, partition }] of this.#tasks) {
      const input = { topic: sub.inputTopic, partition }
      const committed = group.fetch([input], false)[0] ?? null
      // Where the group's offset is missing, the task record is what counts.
      const from =
        committed === null || committed.metadata === 'unresolved'
          ? (this.#lastTaskRecord(task)?.record.inputs[0]!.offset ?? 0)
          : committed.offset
      if (this.#cluster.partition(input).hasRecords(from)) return false
    }
    return true
  }

  /**
   * Once all is quiet.
   * @param isUntroubled nothing was slow, lost or inflicted
   * @returns what is violated
   */
  finished(isUntroubled: boolean): string[] {
    const takenBack: string[] = []
    const actual = actualOutputs(this.#cluster, this.#plan, takenBack)
    return [
      ...[...this.#passed]
        .filter(([{ fate }]) => fate === 'committed')
        .map(([, where]) => `a checkpoint was ahead of what was committed: ${where}`),
      ...differences(expectedOutputs(this.#cluster, this.#plan), actual),
      ...takenBack,
      ...wrongStalls(this.#cluster, this.#plan, isUntroubled),
      ...this.#deadLetters(),
      ...[...this.#tasks].flatMap(([task, place]) => this.#stateOf(task, place)),
    ]
  }

  #deadLetters(): string[] {
    const { partitions } = this.#cluster.topic(this.#plan.deadLetterTopic)!
    return partitions.some((partition) => partition.hasRecords(partition.start))
      ? ['a record is in the dead letters']
      : []
  }

  /** A state holds of the open segments what its changelog says up to its checkpoint, and nothing else. */
  #stateOf(task: string, place: TaskPlace): string[] {
    const state = this.#redis.inspect(task)
    const [, windows] = this.#changelogs(place)
    const truth = this.#lastTaskRecord(task)
    if (state === null || truth === null || state.taskRecord === null) return []
    const { checkpoint, clusterId } = state.meta
    if (clusterId !== this.#cluster.clusterId || checkpoint.changelog <= truth.offset) return []
    const expected = foldChangelog(windows, truth.record, checkpoint.windows)
    const found: string[] = []
    for (const [key, value] of expected) {
      if (state.entries.get(key)?.equals(value) !== true) found.push(`${task}: its state lost ${hex(key)}`)
    }
    for (const key of state.entries.keys()) {
      if (!expected.has(key) && isOpen(truth.record, Buffer.from(key, 'latin1'))) {
        found.push(`${task}: its state holds ${hex(key)}, which no changelog has`)
      }
    }
    return found
  }

  #lastTaskRecord(task: string): { record: TaskRecord; offset: number } | null {
    let last: { record: TaskRecord; offset: number } | null = null
    for (const { batch, fate } of this.#changelogs(this.#tasks.get(task)!)[0].inspect()) {
      if (fate !== 'committed') continue
      for (let i = 0; i < batch.count; i++) {
        if (batch.keyAt(i)?.equals(TASK_RECORD_KEY) !== true) continue
        last = { record: decodeTaskRecord(batch.valueAt(i)!, task), offset: batch.offsetAt(i) }
      }
    }
    return last
  }

  #changelogs({ sub, partition }: TaskPlace): [SimulatedPartition, SimulatedPartition] {
    return [
      this.#cluster.partition({ topic: sub.changelogTopic, partition }),
      this.#cluster.partition({ topic: sub.windowsTopic, partition }),
    ]
  }
}

function foldChangelog(windows: SimulatedPartition, record: TaskRecord, until: number): Map<string, Buffer> {
  const entries = new Map<string, Buffer>()
  for (const { batch, fate } of windows.inspect()) {
    if (fate !== 'committed') continue
    for (let i = 0; i < batch.count; i++) {
      const key = batch.keyAt(i)!
      if (batch.offsetAt(i) >= until || !isOpen(record, key)) continue
      entries.set(key.toString('latin1'), batch.valueAt(i)!)
    }
  }
  return entries
}

function isOpen({ segments }: TaskRecord, key: Buffer): boolean {
  return segments[String(storeOf(key))]?.[String(segmentOf(key))] !== undefined
}

function hex(key: string): string {
  return Buffer.from(key, 'latin1').toString('hex')
}
