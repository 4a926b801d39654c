import { randomBytes } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import type { RecordBatch } from '../../log/batch.ts'
import { LogError } from '../../log/errors.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  TopicPartition,
  TransactionalProducer,
} from '../../log/port.ts'
import { Backoff } from '../../config/backoff.ts'
import { systemClock, systemTimer, type Clock, type Timer } from '../../config/clock.ts'
import { CacheBudget } from '../state/cache-budget.ts'
import { StateError, type StateBackend } from '../state/port.ts'
import { topologyHash } from '../topology/diff.ts'
import { taskId, type Plan, type SubTopology } from '../topology/plan.ts'
import { prepareCommit } from './commit.ts'
import { CommitSchedule } from './commit-schedule.ts'
import { ProcessorError } from './errors.ts'
import type { WorkerEvents } from './events.ts'
import type { FrozenTask } from './frozen-task.ts'
import { processGroupId } from './lag.ts'
import type { AssignedTask, OpenedTask } from './open.ts'
import { Opening } from './opening.ts'
import { Outputs } from './outputs.ts'
import type { ProtocolStep, StepObserver } from './protocol.ts'
import { Recess } from './recess.ts'
import { Task } from './task.ts'

export interface WorkerOptions {
  readonly log: Log
  readonly state: StateBackend
  readonly plan: Plan
  /** Schema ids by subject, as registered at start. */
  readonly schemaIds: ReadonlyMap<string, number>
  /** Part of the transactional id; a pod's name, say. Default: 128 random bits. */
  readonly instance?: string
  readonly clock?: Clock
  readonly timer?: Timer
  /** In [0, 1); spreads pauses. Default Math.random. */
  readonly random?: () => number
  /**
   * A commit is due this long after the first record that it covers. Default: adapts between
   * `minCommitIntervalMs` and `maxCommitIntervalMs`, so that commits take a tenth of the time.
   */
  readonly commitIntervalMs?: number
  /** Default 100. */
  readonly minCommitIntervalMs?: number
  /** Default 1,000. */
  readonly maxCommitIntervalMs?: number
  /** … or when so much waits to be sent. Default 4 MiB. */
  readonly commitBytes?: number
  /** … or so many records have been processed. Default 10,000. */
  readonly commitRecords?: number
  /** How much is fetched at a time. Default 1 MiB. */
  readonly fetchBytes?: number
  /** Memory for state beyond what is not yet applied. Default 48 MiB. */
  readonly cacheBytes?: number
  readonly onStep?: StepObserver
  readonly events?: WorkerEvents
  /** Told in words what a person should know: waits, recoveries, restores. */
  readonly report?: (message: string) => void
}

const DEFAULTS = {
  minCommitIntervalMs: 100,
  maxCommitIntervalMs: 1000,
  commitBytes: 4 * 1024 * 1024,
  commitRecords: 10_000,
  fetchBytes: 1024 * 1024,
  cacheBytes: 48 * 1024 * 1024,
}

/** Published for every step of the protocol: `{ step, instance }`. */
const steps = channel('millrace:protocol-step')

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 10_000
/** How long a poll waits where nothing is due. */
const POLL_MS = 200
/** Fenced so often in a row while the generation is valid: somebody else has our instance id. */
const FENCED_LIMIT = 2

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
  readonly #options: WorkerOptions & typeof DEFAULTS
  readonly #clock: Clock
  readonly #timer: Timer
  readonly #events: WorkerEvents
  readonly #onStep: StepObserver
  readonly #report: (message: string) => void
  readonly #outputs = new Outputs()
  readonly #consumer: GroupConsumer
  readonly #schedule: CommitSchedule
  readonly #topologyHash: string
  readonly #tasks = new Map<string, Task>()
  /** Given up in good order at a revoke: their caches may still hold when they come back. */
  readonly #parked = new Map<string, Task>()
  #producer: TransactionalProducer | null = null
  #group: GroupMetadata | null = null
  #assigned: AssignedTask[] = []
  #opening: Opening | null = null
  #commit: Promise<void> | null = null
  #failure: unknown = null
  #fencedInARow = 0
  /** Fetched, and not yet processed since the state is away. */
  #held: RecordBatch[] = []
  /** All tasks have to be opened again, after a pause. */
  readonly #reopening: Recess
  /** The state does not answer: inputs rest, heartbeats go on. */
  readonly #standingBack: Recess
  readonly #backoff: Backoff
  #hasSaidWaiting = false
  /** Ends waiting for a state that is away: the tasks have to be given up now. */
  #lettingGo = new AbortController()
  readonly #stopping = new AbortController()

  constructor(options: WorkerOptions) {
    this.plan = options.plan
    this.instance = options.instance ?? randomBytes(16).toString('hex')
    this.groupId = processGroupId(options.plan.application)
    this.#options = { ...DEFAULTS, ...options }
    this.#clock = options.clock ?? systemClock
    this.#timer = options.timer ?? systemTimer
    this.#events = options.events ?? {}
    this.#report = options.report ?? ((): void => {})
    this.#onStep = (step: ProtocolStep): void => {
      if (steps.hasSubscribers) steps.publish({ step, instance: this.instance })
      options.onStep?.(step)
    }
    this.#topologyHash = topologyHash(this.plan)
    const commitIntervalMs = options.commitIntervalMs ?? null
    this.#schedule = new CommitSchedule({ ...this.#options, commitIntervalMs }, this.#clock)
    this.budget = new CacheBudget(this.#options.cacheBytes)
    this.#backoff = new Backoff({
      initialMs: FIRST_BACKOFF_MS,
      maxMs: LONGEST_BACKOFF_MS,
      random: options.random ?? Math.random,
    })
    const wakeup = (): void => this.#consumer.wakeup()
    this.#reopening = new Recess(this.#timer, this.#stopping.signal, wakeup)
    this.#standingBack = new Recess(this.#timer, this.#stopping.signal, wakeup)
    this.#consumer = this.#options.log.groupConsumer({
      groupId: this.groupId,
      topics: this.plan.subTopologies.map(({ inputTopic }) => [inputTopic]),
      onRevoke: () => this.#revoke(),
      onAssign: (partitions, group) => this.#assign(partitions, group),
    })
  }

  /** Those that run; others may be restoring yet. */
  get tasks(): readonly Task[] {
    return [...this.#tasks.values()]
  }

  /** How many assigned tasks are brought up to their changelogs, and do not run yet. */
  get restoring(): number {
    return this.#opening?.restoring ?? 0
  }

  /** Every task that the group gave this process runs. */
  get isReady(): boolean {
    return this.#group !== null && !this.#reopening.isOn && this.#opening === null
  }

  /**
   * One round: poll, process, and commit when due.
   * @param maxWaitMs how long to wait for a record
   * @returns how many records and marks were processed
   * @throws ProcessorError, or whatever is not mended by opening again
   */
  async runOnce(maxWaitMs: number): Promise<number> {
    try {
      this.#throwFailure()
      const processed = await this.#round(maxWaitMs)
      this.#throwFailure()
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
        await this.#timer.turn()
      }
    } catch (error) {
      // It ends, but nothing of it goes on behind its back.
      this.#lettingGo.abort()
      await this.#opening?.cancel()
      await this.#commit
      await this.#discardProducer()
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
    await this.#dropTasks()
    await this.#discardProducer()
  }

  async #round(maxWaitMs: number): Promise<number> {
    const batches = await this.#consumer.poll(this.#options.fetchBytes, this.#waitMs(maxWaitMs))
    if (this.#reopening.isOn) {
      // Nothing runs: what was fetched is fetched again from where the tasks then stand.
      if (this.#reopening.isOver) await this.#open()
      return 0
    }
    await this.#adopt()
    this.#held.push(...batches)
    const processed = await this.#processHeld()
    await this.#commitWhenDue()
    return processed
  }

  /** While a commit is under way the next one cannot begin: its end wakes the poll. */
  #waitMs(maxWaitMs: number): number {
    if (this.#commit !== null) return maxWaitMs
    if (this.#reopening.isOver || this.#standingBack.isOver) return 0
    return Math.min(maxWaitMs, this.#schedule.dueInMs())
  }

  async #processHeld(): Promise<number> {
    if (this.#standingBack.isOn && !this.#standingBack.isOver) return 0
    let processed = 0
    for (let batch = this.#held[0]; batch !== undefined; batch = this.#held[0]) {
      // No task: it has gone meanwhile, and its new owner reads the batch.
      const task = this.#tasks.get(taskId(this.#subOf(batch), batch.partition))
      try {
        await task?.process(batch)
      } catch (error) {
        // Its reads come first: nothing of the batch was processed yet.
        if (!isStateAway(error)) throw error
        this.#standBack(error)
        return processed
      }
      this.#held.shift()
      if (task === undefined) continue
      processed += batch.count
      if (batch.count > 0) this.#schedule.processed(batch.count, batch.timestampAt(0))
    }
    if (this.#standingBack.isOn && this.#commit === null) this.#goOn()
    return processed
  }

  async #commitWhenDue(): Promise<void> {
    if (this.#standingBack.isOn) return
    const isFull = this.#schedule.isFull(this.#outputs.bytes)
    if (this.#commit !== null && isFull) {
      await Promise.race([this.#commit, this.#standingBack.begins()])
    }
    if (this.#commit !== null || !(isFull || this.#schedule.isDue())) return
    // It may have failed while this round polled: nothing is begun behind a failed commit.
    this.#throwFailure()
    await this.#startCommit()
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
    const beganMs = this.#clock.nowMs()
    const { records, oldestIngestionMs } = this.#schedule
    const prepared = await prepareCommit(this.tasks, {
      producer: this.#producer,
      group: this.#group,
      outputs: this.#outputs,
      clock: this.#clock,
      onStep: this.#onStep,
      untilStateAnswers: (action) => this.#untilStateAnswers(action),
    })
    this.#schedule.begin()
    if (prepared === null) return
    this.#commit = prepared.run().then(
      () => {
        const durationMs = this.#clock.nowMs() - beganMs
        this.#schedule.took(durationMs)
        this.#events.committed?.({ tasks: prepared.tasks.length, records, durationMs, oldestIngestionMs })
        return this.#committed(prepared.tasks)
      },
      (error: unknown) => {
        this.#failure = error
        this.#commit = null
        this.#consumer.wakeup()
      },
    )
  }

  #committed(frozen: readonly FrozenTask[]): Promise<void> {
    this.#commit = null
    if (this.#schedule.hasWork || this.#standingBack.isOn) this.#consumer.wakeup()
    this.#fencedInARow = 0
    this.#sayAnswered()
    return this.#cleanUp(frozen)
  }

  /** Frees what no open could ask for again: closed segments, and repartition records that are committed. */
  #cleanUp(frozen: readonly FrozenTask[]): Promise<void> {
    const before: (TopicPartition & { offset: number })[] = []
    for (const { task, position } of frozen) {
      const windows = task.takeDeletableWindows()
      if (windows !== null)
        before.push({ topic: task.sub.windowsTopic, partition: task.partition, offset: windows })
      if (task.sub.upstream !== null) {
        before.push({ topic: task.sub.inputTopic, partition: task.partition, offset: position })
      }
    }
    // Not part of the guarantee: what a failure leaves is deleted next time.
    return before.length === 0
      ? Promise.resolve()
      : this.#options.log.admin.deleteRecords(before).catch((error: unknown) => {
          this.#report(`Old records could not be deleted: ${String(error)}`)
        })
  }

  async #settleCommit(): Promise<void> {
    await this.#commit
    this.#throwFailure()
  }

  #throwFailure(): void {
    const error = this.#failure
    this.#failure = null
    if (error !== null) throw error as Error
  }

  /** Awaited before the group is joined again: what is processed is committed, or given up. */
  async #revoke(): Promise<void> {
    this.#lettingGo.abort()
    try {
      await this.#commitAll()
      this.#park()
    } catch (error) {
      if (!isRecoverable(error)) throw error
      await this.#discardProducer()
    } finally {
      await this.#letGo()
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
    this.#reopening.end()
    this.#standingBack.end()
    this.#lettingGo = new AbortController()
    await this.#letGo()
    if (this.#assigned.length === 0) {
      this.#disposeParked()
      return
    }
    const { log, state } = this.#options
    const beganMs = this.#clock.nowMs()
    this.#opening = await Opening.begin(this.#assigned, {
      log,
      state,
      consumer: this.#consumer,
      producer: this.#producer ?? (await this.#newProducer()),
      group: this.#group!,
      clock: this.#clock,
      timer: this.#timer,
      onStep: this.#onStep,
      onChange: () => this.#consumer.wakeup(),
      events: {
        ...this.#events,
        restored: (event) => {
          this.#report(`${event.task}: restored ${event.records} changelog records into its state`)
          this.#events.restored?.(event)
        },
      },
    })
    const tasks = this.#assigned.map(({ sub, partition }) => taskId(sub, partition))
    this.#events.assigned?.({ tasks, durationMs: this.#clock.nowMs() - beganMs })
    await this.#adopt()
  }

  /** Takes the tasks that are opened, and lets them run. */
  async #adopt(): Promise<void> {
    const opening = this.#opening
    if (opening === null) return
    if (opening.failure !== null) throw opening.failure as Error
    const opened = opening.takeReady()
    if (opening.restoring === 0) this.#opening = null
    if (opened.length > 0) await this.#take(opened)
    if (this.#opening === null) this.#disposeParked()
  }

  async #take(opened: readonly OpenedTask[]): Promise<void> {
    const tasks: Task[] = []
    for (const { id, sub, partition, start, mustCommit, unchangedSince } of opened) {
      const parked = this.#parked.get(id)
      this.#parked.delete(id)
      let task: Task
      // Step 4: caches hold where nobody had the state in between and nothing was applied here.
      if (
        parked !== undefined &&
        parked.owner.token === unchangedSince &&
        parked.position === start.position
      ) {
        task = parked
        task.takeOver(start)
      } else {
        parked?.dispose()
        task = new Task(sub, partition, start, {
          plan: this.plan,
          topologyHash: this.#topologyHash,
          schemaIds: this.#options.schemaIds,
          outputs: this.#outputs,
          budget: this.budget,
          clock: this.#clock,
        })
        await task.load()
      }
      if (mustCommit) task.markMoved()
      this.#tasks.set(id, task)
      tasks.push(task)
    }
    // First start, or expired: the resolved positions are committed with a task record before the tasks run.
    if (opened.some(({ mustCommit }) => mustCommit)) await this.#commitAll()
    // Step 6. Seek and run.
    const inputs = tasks.map((task) => ({ topic: task.sub.inputTopic, partition: task.partition }))
    for (const [i, task] of tasks.entries()) this.#consumer.seek(inputs[i]!, task.position)
    this.#consumer.resume(inputs)
    this.#onStep('open.6')
  }

  async #newProducer(): Promise<TransactionalProducer> {
    const producer = this.#options.log.transactionalProducer({
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
    await this.#commit
    this.#failure = null
    await this.#discardProducer()
    await this.#dropTasks()
    const { code, message } = error
    if (code === 'FENCED' && ++this.#fencedInARow >= FENCED_LIMIT) {
      throw new ProcessorError(
        'INSTANCE_SHARED',
        `Another process runs as instance '${this.instance}' of ${this.plan.application}: ` +
          'give each process an instance id of its own.',
      )
    }
    this.#events.reopening?.({ code, message })
    // The next round polls first: where the group has moved on, that joins it again, and opens.
    const isAway = AWAY.has(code)
    if (isAway) this.#sayWaiting(error)
    this.#reopening.begin(isAway ? this.#backoff.nextMs() : 0)
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
        await this.#timer.sleep(this.#backoff.nextMs(), this.#lettingGo.signal)
      }
    }
  }

  /** Buffers are kept; what comes in has to wait. */
  #standBack(error: StateError): void {
    this.#sayWaiting(error)
    this.#rest()
    this.#standingBack.begin(this.#backoff.nextMs())
  }

  #goOn(): void {
    this.#standingBack.end()
    this.#sayAnswered()
    this.#consumer.resume(this.#inputs())
  }

  #rest(): void {
    this.#consumer.pause(this.#inputs())
  }

  #inputs(): TopicPartition[] {
    return this.#assigned.map(({ sub, partition }) => ({ topic: sub.inputTopic, partition }))
  }

  #sayWaiting(error: Error): void {
    if (!this.#hasSaidWaiting) this.#report(`${error.message} Nothing is lost; trying again until it works.`)
    this.#hasSaidWaiting = true
  }

  #sayAnswered(): void {
    this.#backoff.reset()
    if (this.#hasSaidWaiting) this.#report('The log and the state answer again; going on.')
    this.#hasSaidWaiting = false
  }

  #park(): void {
    for (const [id, task] of this.#tasks) this.#parked.set(id, task)
    this.#tasks.clear()
  }

  #disposeParked(): void {
    for (const task of this.#parked.values()) task.dispose()
    this.#parked.clear()
  }

  /** Nothing of the tasks goes on; what they had not committed is gone. Parked ones stay. */
  async #letGo(): Promise<void> {
    await this.#opening?.cancel()
    this.#opening = null
    for (const task of this.#tasks.values()) task.dispose()
    this.#tasks.clear()
    this.#held = []
    this.#outputs.clear()
    this.#schedule.begin()
  }

  async #dropTasks(): Promise<void> {
    await this.#letGo()
    this.#disposeParked()
  }
}

/** The log or the state does not answer, or its storage refuses: it may again, after a while. */
const AWAY = new Set(['STORAGE', 'UNAVAILABLE', 'STATE_UNAVAILABLE'])

const RECOVERABLE = new Set([
  'FENCED',
  'STALE_GENERATION',
  'TRANSACTION_TIMED_OUT',
  'OUTCOME_UNKNOWN',
  // Who owns the task by now has deleted what it needs no more; where it is really so, open step 5 says it.
  'OFFSET_OUT_OF_RANGE',
  'STORAGE',
  'UNAVAILABLE',
])

/** What opening the tasks again mends. Anything else is a bug or needs a person. */
function isRecoverable(error: unknown): error is StateError | LogError {
  return error instanceof StateError || (error instanceof LogError && RECOVERABLE.has(error.code))
}

function isStateAway(error: unknown): error is StateError {
  return error instanceof StateError && error.code === 'STATE_UNAVAILABLE'
}
