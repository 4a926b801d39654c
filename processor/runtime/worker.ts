import { randomBytes } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { LogError } from '../../log/errors.ts'
import type {
  GroupConsumer,
  GroupMetadata,
  Log,
  TopicPartition,
  TransactionalProducer,
} from '../../log/port.ts'
import { systemClock, type Clock } from '../../config/clock.ts'
import { CacheBudget } from '../state/cache-budget.ts'
import { StateError, type StateBackend } from '../state/port.ts'
import { topologyHash } from '../topology/diff.ts'
import { taskId, type Plan, type SubTopology } from '../topology/plan.ts'
import { prepareCommit } from './commit.ts'
import { ProcessorError } from './errors.ts'
import { processGroupId } from './lag.ts'
import { openTasks, type AssignedTask } from './open.ts'
import { Outputs } from './outputs.ts'
import type { ProtocolStep, StepObserver } from './protocol.ts'
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
  /** A commit is due this long after the first record that it covers. Default 200. */
  readonly commitIntervalMs?: number
  /** … or when so much waits to be sent. Default 4 MiB. */
  readonly commitBytes?: number
  /** … or so many records have been processed. Default 10,000. */
  readonly commitRecords?: number
  /** How much is fetched at a time. Default 1 MiB. */
  readonly fetchBytes?: number
  /** Memory for state beyond what is not yet applied. Default 48 MiB. */
  readonly cacheBytes?: number
  readonly onStep?: StepObserver
  /** Told in words what a person should know: waits, recoveries, restores. */
  readonly report?: (message: string) => void
}

const DEFAULTS = {
  commitIntervalMs: 200,
  commitBytes: 4 * 1024 * 1024,
  commitRecords: 10_000,
  fetchBytes: 1024 * 1024,
  cacheBytes: 48 * 1024 * 1024,
}

/** Published for every step of the protocol: `{ step, instance }`. */
const steps = channel('millrace:protocol-step')

const FIRST_BACKOFF_MS = 50
const LONGEST_BACKOFF_MS = 10_000
/** Fenced so often in a row while the generation is valid: somebody else has our instance id. */
const FENCED_LIMIT = 2

/*
 *   created ──start──► running ──revoked──► joining ──assigned──► running
 *                        │  ▲                                       │
 *               error ───┘  └── reopened: new producer, all tasks ◄─┘
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
  readonly #options: Required<Omit<WorkerOptions, 'instance' | 'onStep' | 'report'>>
  readonly #onStep: StepObserver
  readonly #report: (message: string) => void
  readonly #budget: CacheBudget
  readonly #outputs = new Outputs()
  readonly #consumer: GroupConsumer
  readonly #tasks = new Map<string, Task>()
  #producer: TransactionalProducer | null = null
  #group: GroupMetadata | null = null
  #assigned: AssignedTask[] = []
  #commit: Promise<void> | null = null
  #commitError: unknown = null
  #recordsSinceCommit = 0
  #dueAtMs: number | null = null
  #fencedInARow = 0
  #backoffMs = 0
  #waiting = false
  /** The group may have moved on: the next poll tells. */
  #isStale = false
  readonly #stopping = new AbortController()

  constructor(options: WorkerOptions) {
    this.plan = options.plan
    this.instance = options.instance ?? randomBytes(16).toString('hex')
    this.groupId = processGroupId(options.plan.application)
    this.#options = { clock: systemClock, ...DEFAULTS, ...options }
    this.#report = options.report ?? ((): void => {})
    this.#onStep = (step: ProtocolStep): void => {
      if (steps.hasSubscribers) steps.publish({ step, instance: this.instance })
      options.onStep?.(step)
    }
    this.#budget = new CacheBudget(this.#options.cacheBytes)
    this.#consumer = this.#options.log.groupConsumer({
      groupId: this.groupId,
      topics: this.plan.subTopologies.map(({ inputTopic }) => [inputTopic]),
      onRevoke: () => this.#revoke(),
      onAssign: (partitions, group) => this.#assign(partitions, group),
    })
  }

  get tasks(): readonly Task[] {
    return [...this.#tasks.values()]
  }

  /**
   * One round: poll, process, and commit when due.
   * @param maxWaitMs how long to wait for a record
   * @returns how many records and marks were processed
   * @throws ProcessorError, or whatever is not mended by opening again
   */
  async runOnce(maxWaitMs: number): Promise<number> {
    try {
      this.#throwCommitError()
      const processed = await this.#round(maxWaitMs)
      this.#throwCommitError()
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
      this.#consumer.wakeup()
    }
    signal.addEventListener('abort', stop)
    try {
      while (!signal.aborted) {
        await this.runOnce(this.#options.commitIntervalMs)
        // A poll that finds records at once awaits no event: let the commit under way, and others, go on.
        await setImmediate()
      }
    } catch (error) {
      // It ends, but nothing of it goes on behind its back.
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
   * @returns false where it failed and the tasks were opened again: they process it once more
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

  async #commitAll(): Promise<void> {
    await this.#settleCommit()
    await this.#startCommit()
    await this.#settleCommit()
  }

  /** Commits and leaves the group, so that others take over at once. */
  async close(): Promise<void> {
    await this.#consumer.close()
    await this.#discardProducer()
  }

  async #round(maxWaitMs: number): Promise<number> {
    const { clock, fetchBytes, commitBytes, commitRecords } = this.#options
    // While a commit is under way the next one cannot begin: its end wakes the poll.
    const isWaiting = this.#dueAtMs === null || this.#commit !== null
    const wait = isWaiting ? maxWaitMs : Math.max(0, Math.min(maxWaitMs, this.#dueAtMs! - clock.nowMs()))
    let processed = 0
    const batches = await this.#consumer.poll(fetchBytes, wait)
    // Refused as an old generation, and yet the poll had nothing to join: the generation stands.
    if (this.#isStale) {
      await this.#open()
      // What was fetched before may lie beyond where the tasks stand now.
      return 0
    }
    for (const batch of batches) {
      const task = this.#tasks.get(taskId(this.#subOf(batch), batch.partition))
      // A batch fetched for a task that has gone meanwhile: its new owner reads it.
      if (task === undefined) continue
      await task.process(batch)
      processed += batch.count
    }
    if (processed > 0) {
      this.#recordsSinceCommit += processed
      this.#dueAtMs ??= clock.nowMs() + this.#options.commitIntervalMs
    }
    const full = this.#recordsSinceCommit >= commitRecords || this.#outputs.bytes >= commitBytes
    if (full) await this.#settleCommit()
    const due = full || (this.#dueAtMs !== null && clock.nowMs() >= this.#dueAtMs)
    if (due && this.#commit === null) {
      // It may have failed while this round polled: nothing is begun behind a failed commit.
      this.#throwCommitError()
      await this.#startCommit()
    }
    return processed
  }

  #subOf({ topic }: TopicPartition): SubTopology {
    return this.plan.subTopologies.find(({ inputTopic }) => inputTopic === topic)!
  }

  async #startCommit(): Promise<void> {
    if (this.#producer === null || this.#group === null) return
    const prepared = await prepareCommit(this.tasks, {
      producer: this.#producer,
      group: this.#group,
      outputs: this.#outputs,
      clock: this.#options.clock,
      onStep: this.#onStep,
    })
    this.#recordsSinceCommit = 0
    this.#dueAtMs = null
    if (prepared === null) return
    this.#commit = prepared.run().then(
      () => this.#committed(prepared.tasks),
      (error: unknown) => {
        this.#commitError = error
        this.#commit = null
        this.#consumer.wakeup()
      },
    )
  }

  #committed(frozen: readonly { task: Task; position: number }[]): Promise<void> {
    this.#commit = null
    if (this.#dueAtMs !== null) this.#consumer.wakeup()
    this.#fencedInARow = 0
    this.#backoffMs = 0
    if (this.#waiting) this.#report('The log and the state answer again; going on.')
    this.#waiting = false
    return this.#cleanUp(frozen)
  }

  /** Frees what no open could ask for again: closed segments, and repartition records that are committed. */
  #cleanUp(frozen: readonly { task: Task; position: number }[]): Promise<void> {
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
    this.#throwCommitError()
  }

  #throwCommitError(): void {
    const error = this.#commitError
    this.#commitError = null
    if (error !== null) throw error as Error
  }

  /** Awaited before the group is joined again: what is processed is committed, or given up. */
  async #revoke(): Promise<void> {
    try {
      await this.#commitAll()
    } catch (error) {
      if (!isRecoverable(error)) throw error
      await this.#discardProducer()
    } finally {
      this.#dropTasks()
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
    const { log, state, clock, schemaIds } = this.#options
    this.#isStale = false
    this.#dropTasks()
    if (this.#assigned.length === 0) return
    const producer = this.#producer ?? (await this.#newProducer())
    const opened = await openTasks(this.#assigned, {
      log,
      state,
      plan: this.plan,
      consumer: this.#consumer,
      producer,
      group: this.#group!,
      clock,
      onStep: this.#onStep,
      onRestored: (task, records) =>
        this.#report(`${task}: restored ${records} changelog records into its state`),
    })
    const hash = topologyHash(this.plan)
    for (const { sub, partition, start, first } of opened) {
      const task = new Task(sub, partition, start, {
        plan: this.plan,
        topologyHash: hash,
        schemaIds,
        outputs: this.#outputs,
        budget: this.#budget,
        clock,
      })
      await task.load()
      this.#tasks.set(task.id, task)
      if (first) task.markMoved()
    }
    // First start: the resolved positions are committed with a task record before the tasks run.
    if (opened.some(({ first }) => first)) {
      await this.#startCommit()
      await this.#settleCommit()
    }
    // Step 6. Seek and run.
    for (const task of this.#tasks.values()) {
      this.#consumer.seek({ topic: task.sub.inputTopic, partition: task.partition }, task.position)
    }
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
    await this.#commit
    this.#commitError = null
    await this.#discardProducer()
    this.#dropTasks()
    const code = (error as { code?: unknown }).code
    if (code === 'FENCED' && ++this.#fencedInARow >= FENCED_LIMIT) {
      throw new ProcessorError(
        'INSTANCE_SHARED',
        `Another process runs as instance '${this.instance}' of ${this.plan.application}: ` +
          'give each process an instance id of its own.',
      )
    }
    if (code === 'STORAGE' || code === 'STATE_UNAVAILABLE') await this.#backOff(error as Error)
    // An old generation: the next poll joins again, and opens. One that is stopping opens nothing.
    this.#isStale = code === 'STALE_GENERATION' && this.#group !== null
    if (this.#isStale || this.#group === null || this.#stopping.signal.aborted) return
    try {
      await this.#open()
    } catch (again) {
      if (!isRecoverable(again)) throw again
      this.#commitError = again
    }
  }

  async #backOff(error: Error): Promise<void> {
    if (!this.#waiting) this.#report(`${error.message} Nothing is lost; trying again until it works.`)
    this.#waiting = true
    this.#backoffMs = Math.min(Math.max(FIRST_BACKOFF_MS, this.#backoffMs * 2), LONGEST_BACKOFF_MS)
    await sleep(this.#backoffMs, undefined, { signal: this.#stopping.signal }).catch(() => undefined)
  }

  #dropTasks(): void {
    for (const task of this.#tasks.values()) task.dispose()
    this.#tasks.clear()
    this.#outputs.clear()
    this.#recordsSinceCommit = 0
    this.#dueAtMs = null
  }
}

/** What opening the tasks again mends. Anything else is a bug or needs a person. */
function isRecoverable(error: unknown): boolean {
  if (error instanceof StateError) return true
  return (
    error instanceof LogError &&
    ['FENCED', 'STALE_GENERATION', 'TRANSACTION_TIMED_OUT', 'OUTCOME_UNKNOWN', 'STORAGE'].includes(error.code)
  )
}
