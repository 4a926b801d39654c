import type { GroupMetadata, TransactionalProducer } from '../../log/port.ts'
import type { Clock } from '../../config/clock.ts'
import { encodeMark, MARK_HEADERS, type TaskWatermark } from '../../schemas/marks.ts'
import type { Outputs } from './outputs.ts'
import type { StepObserver } from './protocol.ts'
import type { FrozenTask } from './frozen-task.ts'
import type { Task } from './task.ts'

export interface CommitDependencies {
  readonly producer: TransactionalProducer
  /** Captured when the tasks were opened, never the client's current one. */
  readonly group: GroupMetadata
  readonly outputs: Outputs
  readonly clock: Clock
  readonly onStep: StepObserver
  /** Tries an action on the state until it answers, or until the tasks have to be given up. */
  readonly untilStateAnswers: <T>(action: () => Promise<T>) => Promise<T>
}

/** One commit of all tasks of a process: its buffers are closed, its transaction not yet begun. */
export interface PreparedCommit {
  readonly tasks: readonly FrozenTask[]
  /** Steps 2 to 6. After a rejection nothing is known: open the tasks again. */
  run(): Promise<void>
}

/**
 * Step 1 of the commit protocol (design §6): closes the write buffers of the tasks that moved,
 * between two batches; the windows that time has passed close with them. Processing may go on into
 * the next buffers while `run` does the rest.
 */
export async function prepareCommit(
  tasks: readonly Task[],
  dependencies: CommitDependencies,
): Promise<PreparedCommit | null> {
  const moved = tasks.filter((task) => task.hasMoved)
  if (moved.length === 0) return null
  const frozen: FrozenTask[] = []
  for (const task of moved) frozen.push(await task.freeze())
  // The promises lie behind the records that they cover.
  writePromises(dependencies.outputs, moved)
  const outputs = dependencies.outputs.freeze()
  dependencies.onStep('commit.1')
  return { tasks: frozen, run: () => runCommit(frozen, outputs, dependencies) }
}

async function runCommit(
  frozen: readonly FrozenTask[],
  outputs: ReturnType<Outputs['freeze']>,
  { producer, group, outputs: pending, clock, onStep, untilStateAnswers }: CommitDependencies,
): Promise<void> {
  // Step 2. Changelogs (full values), outputs and repartition records; then the task records.
  producer.begin()
  const changelogs = frozen.filter(({ changelog }) => changelog.count > 0)
  const offsets = await producer.send([...changelogs.map(({ changelog }) => changelog), ...outputs])
  const windowsOffset = new Map(changelogs.map((task, i) => [task, offsets[i]!]))
  const recordOffsets = await producer.send(
    frozen.map((task) => task.taskRecordAfter(windowsOffset.get(task) ?? null)),
  )
  frozen.forEach((task, i) => task.taskRecordSent(recordOffsets[i]!))
  onStep('commit.2')

  // Step 3. The input positions, with the member and generation of when the tasks were opened.
  await producer.sendOffsets(
    frozen.map(({ task, position }) => ({
      topic: task.sub.inputTopic,
      partition: task.partition,
      offset: position,
      // So that a position whose changelog is gone is told from one that somebody set.
      metadata: task.owner.topicId,
    })),
    group,
  )
  onStep('commit.3')

  // Step 4. The only commit point.
  await producer.commit()
  onStep('commit.4')

  // Step 5. The values are committed; now the state may have them.
  const timeMs = clock.nowMs()
  await Promise.all(frozen.map((task) => untilStateAnswers(() => task.apply(timeMs))))
  onStep('commit.5')

  // Step 6. Nothing frozen is needed any more.
  for (const task of frozen) task.release()
  pending.release()
  onStep('commit.6')
}

/** One record a downstream partition with the promises of all tasks of the process (design §7). */
function writePromises(outputs: Outputs, tasks: readonly Task[]): void {
  const byTopic = new Map<string, { partitions: number; tasks: TaskWatermark[] }>()
  for (const task of tasks) {
    for (const { topic, partitions, time } of task.promises()) {
      const promise = byTopic.get(topic)
      if (promise === undefined) byTopic.set(topic, { partitions, tasks: [time] })
      else promise.tasks.push(time)
    }
  }
  for (const [topic, { partitions, tasks: promised }] of byTopic) {
    const value = encodeMark({ kind: 'watermark', tasks: promised })
    for (let partition = 0; partition < partitions; partition++) {
      outputs.builder(topic, partition).append(null, value, MARK_HEADERS)
    }
  }
}
