import { setTimeout as sleep } from 'node:timers/promises'
import { BatchBuilder, type RecordBatch } from '../../log/batch.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  OffsetAndMetadata,
  PartitionOffsets,
  TopicPartition,
  TransactionalProducer,
} from '../../log/port.ts'
import type { Clock } from '../../config/clock.ts'
import { segmentOf, segmentPrefix, storeOf } from '../state/keys.ts'
import {
  sameLog,
  type Checkpoint,
  type StateBackend,
  type StateOwner,
  type TaskState,
} from '../state/port.ts'
import type { Plan, SubTopology } from '../topology/plan.ts'
import { taskId } from '../topology/plan.ts'
import { ProcessorError } from './errors.ts'
import {
  decodeTaskRecord,
  OPENED_RECORD_KEY,
  TASK_RECORD_KEY,
  type OpenedRecord,
  type TaskRecord,
} from './progress.ts'
import type { StepObserver } from './protocol.ts'
import type { TaskStart } from './task.ts'

/** Offsets committed for want of any: they count as missing ever after. */
const UNRESOLVED = 'unresolved'

const STABLE_POLL_MS = 10
const READ_BYTES = 4 * 1024 * 1024

export interface OpenDependencies {
  readonly log: Log
  readonly state: StateBackend
  readonly plan: Plan
  readonly consumer: GroupConsumer
  readonly producer: TransactionalProducer
  readonly group: GroupMetadata
  readonly clock: Clock
  readonly onStep: StepObserver
  /** Told how many changelog records were applied to a task's state. */
  readonly onRestored: (task: string, records: number) => void
}

export interface AssignedTask {
  readonly sub: SubTopology
  readonly partition: number
}

export interface OpenedTask extends AssignedTask {
  readonly start: TaskStart
  /** Nothing was ever committed for it: its position has to be, before it runs. */
  readonly first: boolean
}

/**
 * Opens all assigned tasks, at every new generation (design §6; the numbers are the design's).
 * 1 committed offsets · 2 opened records and offsets in one transaction · 3 take the state over ·
 * 4 restore · 5 positions · 6 seek and run (the caller's).
 */
export async function openTasks(
  assigned: readonly AssignedTask[],
  dependencies: OpenDependencies,
): Promise<OpenedTask[]> {
  const { consumer, log, onStep } = dependencies
  const inputs = assigned.map(({ sub, partition }) => ({ topic: sub.inputTopic, partition }))

  // Step 1. The committed offsets, once no transaction holds them open.
  const committed = await consumer.committed(inputs)
  onStep('open.1')

  // Step 2. An opened record a task, and the offsets found, in one transaction of this generation.
  const tokens = await sendOpened(assigned, committed, dependencies)
  onStep('open.2')

  // Step 3. Take the state over: a lower token gives way.
  const clusterId = await log.admin.clusterId()
  const claims: { owner: StateOwner; state: TaskState }[] = []
  for (const [i, task] of assigned.entries()) {
    const owner = { clusterId, topicId: await changelogIds(log, task.sub), token: tokens[i]! }
    claims.push({ owner, state: await dependencies.state.takeOver(taskId(task.sub, task.partition), owner) })
  }
  onStep('open.3')

  // Step 4. Bring the state up to the changelogs.
  const restored: Restored[] = []
  for (const [i, task] of assigned.entries()) restored.push(await restore(task, claims[i]!, dependencies))
  onStep('open.4')

  // Step 5. Positions: the task record is the truth.
  const opened: OpenedTask[] = []
  for (const [i, task] of assigned.entries()) {
    opened.push(await resolvePosition(task, committed[i]!, claims[i]!.state, restored[i]!, dependencies))
  }
  onStep('open.5')
  return opened
}

async function sendOpened(
  assigned: readonly AssignedTask[],
  committed: readonly (OffsetAndMetadata | null)[],
  { producer, group, clock }: OpenDependencies,
): Promise<number[]> {
  const opened: OpenedRecord = {
    memberId: group.memberId,
    generation: group.generation,
    openedAt: new Date(clock.nowMs()).toISOString(),
  }
  const value = Buffer.from(JSON.stringify(opened))
  const batches = assigned.map(({ sub, partition }) => {
    const builder = new BatchBuilder(sub.changelogTopic, partition)
    builder.append(OPENED_RECORD_KEY, value)
    return builder
  })
  const offsets = assigned.map(
    ({ sub, partition }, i): OffsetAndMetadata =>
      committed[i] ?? { topic: sub.inputTopic, partition, offset: 0, metadata: UNRESOLVED },
  )
  producer.begin()
  const tokens = await producer.send(batches)
  await producer.sendOffsets(offsets, group)
  await producer.commit()
  return tokens
}

async function changelogIds(log: Log, sub: SubTopology): Promise<string> {
  const topics = await log.admin.describeTopics([sub.changelogTopic, sub.windowsTopic])
  return topics.map((topic) => topic!.topicId).join('+')
}

interface Restored {
  readonly record: TaskRecord | null
  readonly checkpoint: Checkpoint
}

/** Open step 4: a copy of this log goes on from its checkpoint; anything else begins anew. */
async function restore(
  { sub, partition }: AssignedTask,
  { owner, state }: { owner: StateOwner; state: TaskState },
  { log, clock, onRestored }: OpenDependencies,
): Promise<Restored> {
  const task = taskId(sub, partition)
  const changelog = { topic: sub.changelogTopic, partition }
  const windows = { topic: sub.windowsTopic, partition }
  const [changelogEnd, windowsEnd] = await stableEnds(log, changelog, windows, owner.token)

  const found = state.found
  const usable =
    found !== null &&
    sameLog(found.meta, owner) &&
    found.meta.checkpoint.changelog <= changelogEnd!.stable &&
    found.meta.checkpoint.windows <= windowsEnd!.stable
  const meta = usable ? found.meta : await state.newIncarnation(clock.nowMs())
  const before = usable && found.taskRecord !== null ? decodeTaskRecord(found.taskRecord, task) : null
  let record = before

  // The changelog first: its last task record says which segments are closed.
  let recordBytes = null as Buffer | null
  const changelogFrom = Math.max(meta.checkpoint.changelog, changelogEnd!.start)
  await readUntil(log, changelog, changelogFrom, changelogEnd!.stable, (batch) => {
    for (let i = 0; i < batch.count; i++) {
      if (batch.keyAt(i)?.equals(TASK_RECORD_KEY) === true) recordBytes = Buffer.from(batch.valueAt(i)!)
    }
    return Promise.resolve()
  })
  if (recordBytes !== null) record = decodeTaskRecord(recordBytes, task)

  const open = openSegments(record)
  const skip = (key: Buffer): boolean => !open.has(`${storeOf(key)}/${segmentOf(key)}`)
  let checkpoint = meta.checkpoint
  let applied = 0
  const windowsFrom = Math.max(checkpoint.windows, windowsEnd!.start)
  await readUntil(log, windows, windowsFrom, windowsEnd!.stable, async (batch) => {
    const end = { ...checkpoint, windows: batch.nextOffset }
    await state.apply({
      records: [batch],
      skip,
      dropPrefixes: [],
      taskRecord: null,
      base: checkpoint,
      end,
      timeMs: clock.nowMs(),
    })
    checkpoint = end
    applied += batch.count
  })
  if (applied > 0) onRestored(task, applied)

  const end = { changelog: changelogEnd!.stable, windows: Math.max(checkpoint.windows, windowsEnd!.stable) }
  await state.apply({
    records: [],
    // Closed by a commit that was never applied: nobody else would drop them.
    dropPrefixes: [...openSegments(before)]
      .filter((segment) => !open.has(segment))
      .map((segment) => segmentPrefix(...(segment.split('/').map(Number) as [number, number]))),
    taskRecord: recordBytes,
    base: checkpoint,
    end,
    timeMs: clock.nowMs(),
  })
  return { record, checkpoint: end }
}

/**
 * The ends to restore up to: behind the opened record, and in `-windows` behind all that was there
 * after it. What somebody else has left open below them is waited for; the log ends it by its time-out.
 */
async function stableEnds(
  log: Log,
  changelog: TopicPartition,
  windows: TopicPartition,
  token: number,
): Promise<[PartitionOffsets, PartitionOffsets]> {
  let windowsUntil: number | null = null
  for (;;) {
    const [changelogEnd, windowsEnd] = await log.admin.offsets([changelog, windows])
    windowsUntil ??= windowsEnd!.end
    if (changelogEnd!.stable > token && windowsEnd!.stable >= windowsUntil)
      return [changelogEnd!, windowsEnd!]
    await sleep(STABLE_POLL_MS)
  }
}

function openSegments(record: TaskRecord | null): Set<string> {
  const open = new Set<string>()
  for (const [store, segments] of Object.entries(record?.segments ?? {})) {
    for (const segment of Object.keys(segments)) open.add(`${store}/${segment}`)
  }
  return open
}

async function readUntil(
  log: Log,
  topicPartition: { topic: string; partition: number },
  from: number,
  end: number,
  take: (batch: RecordBatch) => Promise<void>,
): Promise<void> {
  const reader = log.partitionReader(topicPartition, from)
  try {
    // Ends on the position, never on a "last record seen": the end may be a gap.
    while (reader.position < end) {
      const batch = await reader.read(READ_BYTES)
      if (batch === null) break
      await take(batch)
    }
  } finally {
    await reader.close()
  }
}

/** Open step 5. @throws ProcessorError when where to go on is not certain: it stops, and never resets */
async function resolvePosition(
  { sub, partition }: AssignedTask,
  committed: OffsetAndMetadata | null,
  state: TaskState,
  { record, checkpoint }: Restored,
  { log }: OpenDependencies,
): Promise<OpenedTask> {
  const input = { topic: sub.inputTopic, partition }
  const place = `${sub.inputTopic} partition ${partition}`
  const [description] = await log.admin.describeTopics([sub.inputTopic])
  const inputTopicId = description!.topicId
  const [range] = await log.admin.offsets([input])
  const known = record?.inputs.find(({ topic }) => topic === sub.inputTopic)
  const resolved = committed !== null && committed.metadata !== UNRESOLVED ? committed.offset : null

  if (known !== undefined) {
    if (known.topicId !== inputTopicId) {
      throw new ProcessorError(
        'INPUT_RECREATED',
        `${place}: the topic was deleted and made again since this state was written. ` +
          'Replay the pipeline, or bring the old topic back.',
      )
    }
    if (resolved !== null && resolved !== known.offset) {
      throw new ProcessorError(
        'GROUP_RESET',
        `${place}: the group's offset is ${resolved}, but the task stands at ${known.offset}: something else ` +
          `reset the group. Set it back to ${known.offset}, or replay the pipeline, which resets state and offsets together.`,
      )
    }
  }
  const position = known?.offset ?? resolved ?? range!.start
  if (position < range!.start || position > range!.end) {
    throw new ProcessorError(
      'POSITION_OUT_OF_RANGE',
      `${place}: the task stands at ${position}, but the log holds ${range!.start} to ${range!.end}. ` +
        'Nothing was skipped: bring the missing records back, or replay the pipeline from what is there.',
    )
  }
  return {
    sub,
    partition,
    first: known === undefined,
    start: { inputTopicId, position, record, state, checkpoint },
  }
}
