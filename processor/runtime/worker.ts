import { randomBytes } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import type { RecordBatch } from '../../log/batch.ts'
import type { GroupConsumer, GroupMetadata, TopicPartition, TransactionalProducer } from '../../log/port.ts'
import { CacheBudget } from '../state/cache-budget.ts'
import type { StateError } from '../state/port.ts'
import { topologyHash } from '../topology/diff.ts'
import { taskId, type Plan, type SubTopology } from '../topology/plan.ts'
import { CommitSchedule } from './commit-schedule.ts'
import { Committer } from './committer.ts'
import { ProcessorError } from './errors.ts'
import { processGroupId } from './lag.ts'
import type { AssignedTask } from './open.ts'
import { Outputs } from './outputs.ts'
import { Patience } from './patience.ts'
import type { ProtocolStep, StepObserver } from './protocol.ts'
import { isAway, isRecoverable, isStateAway } from './recoverable.ts'
import { Task } from './task.ts'
import { TaskSet } from './task-set.ts'
import { workerSettings, type WorkerOptions, type WorkerSettings } from './worker-options.ts'

export type { WorkerOptions }

/** Published for every step of the protocol: `{ step, instance }`. */
const steps = channel('millrace:protocol-step')

/** How long a poll waits where nothing is due. */
const POLL_MS = 200
const NONE: ReadonlySet<string> = new Set()
/**
 * Fenced so often in a row while the generation is valid: somebody else has our instance id. Not the first time:
 * a late copy of our own initialisation, sent again when a connection broke, fences us too.
 */
const FENCED_LIMIT = 5

/*
 *   created ──► joining ──assigned──► opening ──► running ──revoked──► joining
 *                                        ▲            │
 *                                        └── error ◄──┘   new producer, all tasks, without buffers and caches
 */

/**
 * One process' share of a pipeline: polls its inputs, gives batches to its tasks, and commits them
 * all in one transaction. `runOnce` polls, processes what came, and starts a commit when one is
 * due; one commit may be under way while the next batches are processed.
 */
export class Worker {
  readonly plan: Plan
  readonly instance: string
  readonly groupId: string
  readonly budget: CacheBudget
  readonly #settings: WorkerSettings
  readonly #onStep: StepObserver
  readonly #watchesSources: boolean
  readonly #outputs = new Outputs()
  readonly #consumer: GroupConsumer
  readonly #schedule: CommitSchedule
  readonly #patience: Patience
  readonly #tasks: TaskSet
  readonly #committer: Committer
  #producer: TransactionalProducer | null = null
  #group: GroupMetadata | null = null
  #assigned: AssignedTask[] = []
  #fencedInARow = 0
  /** Fetched, and not yet processed since the state is away. */
  #held: RecordBatch[] = []
  /** Ends waiting for a state that is away: the tasks have to be given up now. */
  #lettingGo = new AbortController()
  readonly #stopping = new AbortController()

  constructor(options: WorkerOptions) {
    const settings = workerSettings(options)
    const { clock, timer, random, report, plan } = settings
    this.#settings = settings
    this.plan = plan
    this.#watchesSources = plan.pipeline.graph.nodes.some(({ kind }) => kind === 'stalls')
    this.instance = options.instance ?? randomBytes(16).toString('hex')
    this.groupId = processGroupId(plan.application)
    this.#onStep = (step: ProtocolStep): void => {
      if (steps.hasSubscribers) steps.publish({ step, instance: this.instance })
      options.onStep?.(step)
    }
    this.#schedule = new CommitSchedule(settings, clock)
    this.budget = new CacheBudget(settings.cacheBytes)
    const hash = topologyHash(plan)
    this.#tasks = new TaskSet((sub, partition, start) => {
      return new Task(sub, partition, start, {
        plan,
        topologyHash: hash,
        schemaIds: settings.schemaIds,
        outputs: this.#outputs,
        budget: this.budget,
        clock,
      })
    })
    const { signal } = this.#stopping
    const wake = (): void => this.#consumer.wakeup()
    this.#patience = new Patience({ timer, random, report, signal, wake })
    this.#committer = new Committer({
      settings,
      outputs: this.#outputs,
      schedule: this.#schedule,
      onStep: this.#onStep,
      untilStateAnswers: (action) => this.#untilStateAnswers(action),
      onEnd: (succeeded) => this.#commitEnded(succeeded),
    })
    this.#consumer = settings.log.groupConsumer({
      groupId: this.groupId,
      topics: plan.subTopologies.map(({ inputTopic }) => [inputTopic]),
      cohort: hash,
      onWaiting: (other) =>
        report(
          `Waiting: the partitions are with processes that run another topology of ${plan.application} ` +
            `(${other}, this one has ${hash}): stop them, or start this one with the same version`,
        ),
      onRevoke: () => this.#revoke(),
      onAssign: (partitions, group) => this.#assign(partitions, group),
    })
  }

  /** Those that run; others may be restoring yet. */
  get tasks(): readonly Task[] {
    return this.#tasks.running
  }

  /** How many assigned tasks are brought up to their changelogs, and do not run yet. */
  get restoring(): number {
    return this.#tasks.restoring
  }

  /** Every task that the group gave this process runs. */
  get isReady(): boolean {
    return this.#tasks.isOpen
  }

  /**
   * One round: poll, process, and commit when due.
   * @param maxWaitMs how long to wait for a record
   * @returns how many records and marks were processed
   * @throws ProcessorError, or whatever is not mended by opening again
   */
  async runOnce(maxWaitMs: number): Promise<number> {
    try {
      this.#committer.throwFailure()
      const processed = await this.#round(maxWaitMs)
      this.#committer.throwFailure()
      return processed
    } catch (error) {
      await this.#recover(error)
      return 0
    }
  }

  /** Runs until the signal; then commits what is processed and leaves the group. */
  async run(signal: AbortSignal): Promise<void> {
    const stop = (): void => {
      this.#stopping.abort()
      this.#lettingGo.abort()
      this.#consumer.wakeup()
    }
    signal.addEventListener('abort', stop)
    if (signal.aborted) stop()
    try {
      while (!signal.aborted) {
        await this.runOnce(POLL_MS)
        // A poll that finds records at once awaits no event: let the commit under way, and others, go on.
        await this.#settings.timer.turn()
      }
    } catch (error) {
      // It ends, but nothing of it goes on behind its back, and others take over at once.
      this.#lettingGo.abort()
      await this.#committer.ended()
      this.#committer.forgetFailure()
      await this.#tasks.drop()
      await this.#discardProducer()
      await this.#consumer.close().catch(() => undefined)
      throw error
    } finally {
      signal.removeEventListener('abort', stop)
    }
    await this.close()
  }

  /**
   * Commits what is processed, and waits for it.
   * @returns false where it failed and the tasks are to be opened again: they process it once more
   */
  async flush(): Promise<boolean> {
    try {
      await this.#commitAll()
      return true
    } catch (error) {
      await this.#recover(error)
      return false
    }
  }

  /** Commits and leaves the group, so that others take over at once. */
  async close(): Promise<void> {
    await this.#consumer.close()
    await this.#tasks.drop()
    await this.#discardProducer()
  }

  async #round(maxWaitMs: number): Promise<number> {
    const batches = await this.#consumer.poll(this.#settings.fetchBytes, this.#waitMs(maxWaitMs))
    if (this.#patience.reopening.isOn) {
      // Nothing runs: what was fetched is fetched again from where the tasks then stand.
      if (this.#patience.reopening.isOver) await this.#open()
      return 0
    }
    const adopted = await this.#adopt()
    // What was polled before a task was sought to its position is not what comes next for it.
    const next = adopted.size === 0 ? batches : batches.filter((batch) => !adopted.has(this.#taskIdOf(batch)))
    this.#held.push(...next)
    const processed = await this.#processHeld()
    this.#noteQuiet()
    await this.#commitWhenDue()
    return processed
  }

  /** A source that is silent for too long is told of by a commit that no record brings about. */
  #noteQuiet(): void {
    if (!this.#watchesSources) return
    const isResting = this.#patience.standingBack.isOn || this.#settings.isInputHeld()
    for (const task of this.tasks) if (task.noteQuiet(isResting)) this.#schedule.moved()
  }

  /** While a commit is under way the next one cannot begin: its end wakes the poll. */
  #waitMs(maxWaitMs: number): number {
    if (this.#committer.isUnderWay) return maxWaitMs
    if (this.#patience.reopening.isOver || this.#patience.standingBack.isOver) return 0
    return Math.min(maxWaitMs, this.#schedule.dueInMs())
  }

  async #processHeld(): Promise<number> {
    if (this.#patience.standingBack.isOn && !this.#patience.standingBack.isOver) return 0
    let processed = 0
    for (let batch = this.#held[0]; batch !== undefined; batch = this.#held[0]) {
      // No task: it has gone meanwhile, and its new owner reads the batch.
      const task = this.#tasks.get(this.#taskIdOf(batch))
      try {
        await task?.process(batch)
      } catch (error) {
        // Its reads come first: nothing of the batch was processed yet.
        if (!isStateAway(error)) throw error
        this.#standBack(error)
        return processed
      }
      this.#held.shift()
      if (task !== undefined) {
        processed += batch.count
        if (batch.count > 0) this.#schedule.processed(batch.count, batch.timestampAt(0))
      }
      batch.release()
    }
    if (this.#patience.standingBack.isOn && !this.#committer.isUnderWay) this.#goOn()
    return processed
  }

  async #commitWhenDue(): Promise<void> {
    if (this.#patience.standingBack.isOn) return
    const isFull = this.#schedule.isFull(this.#outputs.bytes)
    if (this.#committer.isUnderWay && isFull) {
      await Promise.race([this.#committer.ended(), this.#patience.standingBack.begins()])
    }
    if (this.#committer.isUnderWay || !(isFull || this.#schedule.isDue())) return
    // It may have failed while this round polled: nothing is begun behind a failed commit.
    this.#committer.throwFailure()
    await this.#startCommit()
  }

  #taskIdOf(batch: RecordBatch): string {
    return taskId(this.#subOf(batch), batch.partition)
  }

  #subOf({ topic }: TopicPartition): SubTopology {
    return this.plan.subTopologies.find(({ inputTopic }) => inputTopic === topic)!
  }

  async #commitAll(): Promise<void> {
    await this.#settleCommit()
    await this.#startCommit()
    await this.#settleCommit()
  }

  async #startCommit(): Promise<void> {
    if (this.#producer === null || this.#group === null) return
    await this.#committer.start(this.tasks, this.#producer, this.#group)
  }

  async #settleCommit(): Promise<void> {
    await this.#committer.ended()
    this.#committer.throwFailure()
  }

  #commitEnded(succeeded: boolean): void {
    if (succeeded) {
      this.#fencedInARow = 0
      this.#patience.answered()
    }
    // What waits for it goes on.
    if (!succeeded || this.#schedule.hasWork || this.#patience.standingBack.isOn) this.#consumer.wakeup()
  }

  /** Awaited before the group is joined again: what is processed is committed, or given up. */
  async #revoke(): Promise<void> {
    this.#lettingGo.abort()
    try {
      await this.#commitAll()
      this.#tasks.park()
    } catch (error) {
      if (!isRecoverable(error)) throw error
      await this.#discardProducer()
    } finally {
      await this.#forget()
      this.#group = null
      this.#assigned = []
    }
  }

  async #assign(partitions: readonly TopicPartition[], group: GroupMetadata): Promise<void> {
    this.#group = group
    this.#assigned = partitions.map((input) => ({ sub: this.#subOf(input), partition: input.partition }))
    await this.#open()
  }

  async #open(): Promise<void> {
    this.#patience.reopening.end()
    this.#patience.standingBack.end()
    this.#lettingGo = new AbortController()
    await this.#forget()
    const { log, state, clock, timer, events, report, inlineRestoreRecords, restoreBytes } = this.#settings
    const beganMs = clock.nowMs()
    await this.#tasks.open(this.#assigned, {
      log,
      state,
      consumer: this.#consumer,
      producer: this.#producer ?? (await this.#newProducer()),
      group: this.#group!,
      clock,
      timer,
      onStep: this.#onStep,
      onChange: () => this.#consumer.wakeup(),
      inlineRecords: inlineRestoreRecords,
      restoreBytes,
      report,
      events: {
        ...events,
        restored: (event) => {
          report(`${event.task}: restored ${event.records} changelog records into its state`)
          events.restored?.(event)
        },
      },
    })
    const tasks = this.#assigned.map(({ sub, partition }) => taskId(sub, partition))
    events.assigned?.({ tasks, durationMs: clock.nowMs() - beganMs })
    await this.#adopt()
  }

  /** Open step 6, for the tasks that became ready. @returns their ids */
  async #adopt(): Promise<ReadonlySet<string>> {
    const { tasks, mustCommit } = await this.#tasks.adopt()
    if (tasks.length === 0) return NONE
    // First start, or expired: the resolved positions are committed with a task record before the tasks run.
    if (mustCommit) await this.#commitAll()
    // Step 6. Seek and run.
    const inputs = tasks.map(inputOf)
    for (const [i, task] of tasks.entries()) this.#consumer.seek(inputs[i]!, task.position)
    this.#consumer.resume(inputs)
    this.#onStep('open.6')
    return new Set(tasks.map(({ id }) => id))
  }

  async #newProducer(): Promise<TransactionalProducer> {
    const producer = this.#settings.log.transactionalProducer({
      transactionalId: `${this.plan.application}-process-${this.instance}`,
    })
    await producer.init()
    this.#producer = producer
    return producer
  }

  async #discardProducer(): Promise<void> {
    const producer = this.#producer
    this.#producer = null
    // It failed or is not needed: closing it is a courtesy to the log.
    await producer?.close().catch(() => undefined)
  }

  /** After any error of a commit nothing is known: a new producer, and all tasks opened again. */
  async #recover(error: unknown): Promise<void> {
    if (!isRecoverable(error)) throw error
    this.#lettingGo.abort()
    await this.#committer.ended()
    this.#committer.forgetFailure()
    await this.#discardProducer()
    await this.#forget()
    await this.#tasks.drop()
    const { code, message } = error
    if (code === 'FENCED' && ++this.#fencedInARow >= FENCED_LIMIT) {
      throw new ProcessorError(
        'INSTANCE_SHARED',
        `Another process runs as instance '${this.instance}' of ${this.plan.application}: ` +
          'give each process an instance id of its own.',
      )
    }
    this.#settings.events.reopening?.({ code, message })
    // The next round polls first: where the group has moved on, that joins it again, and opens.
    if (isAway(error)) this.#patience.waiting(error)
    this.#patience.reopening.begin(isAway(error) ? this.#patience.nextMs() : 0)
    this.#rest()
  }

  /** Runs an action on the state until it answers, or until the tasks have to be given up. */
  async #untilStateAnswers<T>(action: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await action()
      } catch (error) {
        if (!isStateAway(error) || this.#lettingGo.signal.aborted) throw error
        this.#standBack(error)
        await this.#settings.timer.sleep(this.#patience.nextMs(), this.#lettingGo.signal)
      }
    }
  }

  /** Buffers are kept; what comes in has to wait. */
  #standBack(error: StateError): void {
    this.#patience.waiting(error)
    this.#rest()
    this.#patience.standingBack.begin(this.#patience.nextMs())
  }

  #goOn(): void {
    this.#patience.standingBack.end()
    this.#patience.answered()
    // Those that are not open yet wait for open step 6: from where they would go on now is nobody's position.
    this.#consumer.resume(this.tasks.map(inputOf))
  }

  #rest(): void {
    this.#consumer.pause(this.#inputs())
  }

  #inputs(): TopicPartition[] {
    return this.#assigned.map(({ sub, partition }) => ({ topic: sub.inputTopic, partition }))
  }

  /** What was fetched or processed and not committed is gone. */
  async #forget(): Promise<void> {
    await this.#tasks.letGo()
    this.#held = []
    this.#outputs.clear()
    this.#schedule.begin()
  }
}

function inputOf({ sub, partition }: Task): TopicPartition {
  return { topic: sub.inputTopic, partition }
}
