import { BatchBuilder } from '../../log/batch.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  OffsetAndMetadata,
  TopicDescription,
  TransactionalProducer,
} from '../../log/port.ts'
import type { Clock, Timer } from '../../config/clock.ts'
import type { StateBackend, StateOwner, TaskState } from '../state/port.ts'
import { taskId, type SubTopology } from '../topology/plan.ts'
import { partitionsChanged, ProcessorError } from './errors.ts'
import { asOwner } from './ownership.ts'
import { OPENED_RECORD_KEY, type OpenedRecord } from './progress.ts'
import type { StepObserver } from './protocol.ts'
import type { Restored } from './restore.ts'
import type { TaskStart } from './task.ts'

/** Offsets committed for want of any: they count as missing ever after. */
const UNRESOLVED = 'unresolved'

export interface OpenDependencies {
  readonly log: Log
  readonly state: StateBackend
  readonly consumer: GroupConsumer
  readonly producer: TransactionalProducer
  /** Of the assignment that is opened. */
  readonly group: GroupMetadata
  readonly clock: Clock
  readonly timer: Timer
  readonly onStep: StepObserver
}

export interface AssignedTask {
  readonly sub: SubTopology
  readonly partition: number
}

/** A task that is ours by its token; its state may lie behind its changelogs yet. */
export interface Claim extends AssignedTask {
  readonly id: string
  readonly committed: OffsetAndMetadata | null
  readonly inputTopicId: string
  readonly owner: StateOwner
  readonly state: TaskState
}

export interface OpenedTask extends AssignedTask {
  readonly id: string
  readonly start: TaskStart
  /** The group holds no position of it (a first start, or expired): it has to be committed before it runs. */
  readonly mustCommit: boolean
  /** The token that the state carried before, where nothing has changed since; else null. */
  readonly unchangedSince: number | null
}

/**
 * Steps 1 to 3 of opening all assigned tasks, at every new generation (design §6; the numbers are
 * the design's): 1 committed offsets · 2 opened records and offsets in one transaction · 3 take the
 * state over. Step 4 is restore.ts, step 5 `resolvePositions`, step 6 the worker's.
 */
export async function claimTasks(
  assigned: readonly AssignedTask[],
  dependencies: OpenDependencies,
): Promise<Claim[]> {
  const { consumer, log, state, onStep } = dependencies

  // Step 1. The committed offsets, once no transaction holds them open.
  const committed = await consumer.committed(
    assigned.map(({ sub, partition }) => ({ topic: sub.inputTopic, partition })),
  )
  const topics = await readTopics(log, assigned)
  for (const [i, task] of assigned.entries()) assertAsBuilt(task, committed[i]!, topics)
  onStep('open.1')

  // Step 2. An opened record a task, and the offsets found, in one transaction of this generation.
  const tokens = await sendOpened(assigned, committed, dependencies)
  onStep('open.2')

  // Step 3. Take the state over: a lower token gives way.
  const clusterId = await log.admin.clusterId()
  const claims = await Promise.all(
    assigned.map(async ({ sub, partition }, i): Promise<Claim> => {
      const topicId = changelogIds(sub, topics).join('+')
      const owner = { clusterId, topicId, token: tokens[i]! }
      const id = taskId(sub, partition)
      return {
        sub,
        partition,
        id,
        committed: committed[i]!,
        inputTopicId: topics.get(sub.inputTopic)!.topicId,
        owner,
        state: await state.takeOver(id, owner),
      }
    }),
  )
  onStep('open.3')
  return claims
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

async function readTopics(
  log: Log,
  assigned: readonly AssignedTask[],
): Promise<Map<string, TopicDescription>> {
  const names = new Set<string>()
  for (const { sub } of assigned) {
    names.add(sub.changelogTopic).add(sub.windowsTopic).add(sub.inputTopic)
  }
  const found = await log.admin.describeTopics([...names])
  const topics = new Map<string, TopicDescription>()
  for (const [i, name] of [...names].entries()) {
    const topic = found[i]
    if (topic === null || topic === undefined) {
      throw new ProcessorError(
        'TOPIC_MISSING',
        `Topic ${name} is gone: it was there when this process started. Bring it back with its records, ` +
          'or replay the pipeline, which makes its topics anew.',
      )
    }
    topics.set(name, topic)
  }
  return topics
}

function changelogIds(sub: SubTopology, topics: ReadonlyMap<string, TopicDescription>): string[] {
  return [sub.changelogTopic, sub.windowsTopic].map((name) => topics.get(name)!.topicId)
}

/**
 * Before step 2, so that nothing is written for a task whose topics are not those that it was built on; the
 * offsets that a task commits name its changelogs.
 */
function assertAsBuilt(
  { sub, partition }: AssignedTask,
  committed: OffsetAndMetadata | null,
  topics: ReadonlyMap<string, TopicDescription>,
): void {
  const input = topics.get(sub.inputTopic)!
  if (input.partitions !== sub.partitions) throw partitionsChanged(input, sub.partitions, true)
  if (!isByTask(committed)) return
  const ids = changelogIds(sub, topics)
  const before = committed.metadata.split('+')
  const lost = [sub.changelogTopic, sub.windowsTopic].filter((_, i) => before[i] !== ids[i])
  if (lost.length === 0) return
  throw new ProcessorError(
    'CHANGELOG_LOST',
    `${lost.map((name) => `${name} partition ${partition}`).join(' and ')}: deleted and made again since the task ` +
      `last committed (at ${committed.offset} of ${sub.inputTopic}), so that its state cannot be known. ` +
      'Replay the pipeline, which resets state and offsets together.',
  )
}

/**
 * Open step 5, of tasks whose state is restored: the task record says where to go on.
 * @throws ProcessorError when that is not certain: it stops, and never resets
 */
export async function resolvePositions(
  restored: readonly { readonly claim: Claim; readonly restored: Restored }[],
  log: Log,
): Promise<OpenedTask[]> {
  const ranges = await log.admin.offsets(
    restored.map(({ claim }) => ({ topic: claim.sub.inputTopic, partition: claim.partition })),
  )
  return Promise.all(
    restored.map(async ({ claim, restored: { record, checkpoint, unchangedSince } }, i) => {
      const resolve = () => resolvePosition(claim, record, ranges[i]!)
      const { position, mustCommit } = await asOwner(claim, log, resolve)
      const { id, sub, partition, inputTopicId, owner, state } = claim
      const start = { inputTopicId, position, record, state, checkpoint, owner }
      return { id, sub, partition, mustCommit, unchangedSince, start }
    }),
  )
}

/** Whether a task has committed it: it was not set by a tool, nor for want of any. */
export function isByTask(committed: OffsetAndMetadata | null): committed is OffsetAndMetadata {
  return committed !== null && committed.metadata !== '' && committed.metadata !== UNRESOLVED
}

function resolvePosition(
  { sub, partition, committed, inputTopicId }: Claim,
  record: Restored['record'],
  range: { readonly start: number; readonly end: number },
): { position: number; mustCommit: boolean } {
  const place = `${sub.inputTopic} partition ${partition}`
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
  const position = known?.offset ?? resolved ?? range.start
  if (position < range.start || position > range.end) {
    throw new ProcessorError(
      'POSITION_OUT_OF_RANGE',
      `${place}: the task stands at ${position}, but the log holds ${range.start} to ${range.end}. ` +
        'Nothing was skipped: bring the missing records back, or replay the pipeline from what is there.',
    )
  }
  return { position, mustCommit: known === undefined || resolved === null }
}
