import type { GroupMetadata, TopicPartition, TransactionalProducer } from '../../log/port.ts'
import { prepareCommit } from './commit.ts'
import type { CommitSchedule } from './commit-schedule.ts'
import type { FrozenTask } from './frozen-task.ts'
import type { Outputs } from './outputs.ts'
import type { StepObserver } from './protocol.ts'
import type { Task } from './task.ts'
import type { WorkerSettings } from './worker-options.ts'

export interface CommitterDependencies {
  readonly settings: WorkerSettings
  readonly outputs: Outputs
  readonly schedule: CommitSchedule
  readonly onStep: StepObserver
  /** Tries an action on the state until it answers, or until the tasks have to be given up. */
  readonly untilStateAnswers: <T>(action: () => Promise<T>) => Promise<T>
  /** Called when a commit has ended, well or not. */
  readonly onEnd: (succeeded: boolean) => void
}

/** Runs the commits of a worker, one at a time, beside the processing of the next batches. */
export class Committer {
  readonly #dependencies: CommitterDependencies
  #underWay: Promise<void> | null = null
  #failure: unknown = null

  constructor(dependencies: CommitterDependencies) {
    this.#dependencies = dependencies
  }

  get isUnderWay(): boolean {
    return this.#underWay !== null
  }

  /** Resolves when no commit is under way; a failure is kept for `throwFailure`. */
  async ended(): Promise<void> {
    await this.#underWay
  }

  /** @throws what the last commit failed with, once */
  throwFailure(): void {
    const error = this.#failure
    this.#failure = null
    if (error !== null) throw error as Error
  }

  /** It is known, and acted upon. */
  forgetFailure(): void {
    this.#failure = null
  }

  /** Closes the buffers of the tasks that moved (step 1), and begins to commit them. */
  async start(tasks: readonly Task[], producer: TransactionalProducer, group: GroupMetadata): Promise<void> {
    const { settings, outputs, schedule, onStep, untilStateAnswers, onEnd } = this.#dependencies
    const { clock, events } = settings
    const beganMs = clock.nowMs()
    const { records, oldestIngestionMs } = schedule
    const prepared = await prepareCommit(tasks, {
      producer,
      group,
      outputs,
      clock,
      onStep,
      untilStateAnswers,
    })
    schedule.begin()
    if (prepared === null) return
    this.#underWay = prepared.run().then(
      () => {
        const durationMs = clock.nowMs() - beganMs
        schedule.took(durationMs)
        events.committed?.({ tasks: prepared.tasks.length, records, durationMs, oldestIngestionMs })
        this.#underWay = null
        onEnd(true)
        return this.#cleanUp(prepared.tasks)
      },
      (error: unknown) => {
        this.#failure = error
        this.#underWay = null
        onEnd(false)
      },
    )
  }

  /** Frees what no open could ask for again: closed segments, and repartition records that are committed. */
  async #cleanUp(frozen: readonly FrozenTask[]): Promise<void> {
    const before: (TopicPartition & { offset: number })[] = []
    for (const { task, position } of frozen) {
      const { sub, partition } = task
      const windows = task.takeDeletableWindows()
      if (windows !== null) before.push({ topic: sub.windowsTopic, partition, offset: windows })
      if (sub.upstreams.length > 0) before.push({ topic: sub.inputTopic, partition, offset: position })
    }
    if (before.length === 0) return
    const { log, report } = this.#dependencies.settings
    // Not part of the guarantee: what a failure leaves is deleted next time.
    await log.admin.deleteRecords(before).catch((error: unknown) => {
      report(`Old records could not be deleted: ${String(error)}`)
    })
  }
}
